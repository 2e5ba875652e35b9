/* services: see services.h. */
#include "demo/services.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { START_TRIES = 3, READY_MS = 10000, STEP_MS = 20, EXEC_FAILED = 127 };

static void nap(void)
{
    struct timespec t = { 0, STEP_MS * 1000000 };

    nanosleep(&t, NULL);
}

static enum tsn_err write_file(const char *path, const char *text, struct tsn_error *error)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    size_t len = strlen(text);
    bool ok = fd >= 0 && write(fd, text, len) == (ssize_t)len;

    if (fd >= 0)
        close(fd);
    return ok ? TSN_OK : tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
}

static enum tsn_err make_folder(struct demo_services *s, struct tsn_error *error)
{
    const char *tmp = getenv("TMPDIR");

    if (!tmp || strlen(tmp) > 80)
        tmp = "/tmp";
    snprintf(s->dir, sizeof s->dir, "%s/tocsin-demo-XXXXXX", tmp);
    if (!mkdtemp(s->dir)) {
        tsn_error_set(error, TSN_ERR_IO, "%s: %s", s->dir, strerror(errno));
        s->dir[0] = '\0';
        return error->code;
    }
    for (size_t i = 0; i < tsn_rule_file_count; i++) {
        char path[300];

        snprintf(path, sizeof path, "%s/%s", s->dir, tsn_rule_files[i].name);
        if (write_file(path, tsn_rule_files[i].text, error))
            return error->code;
    }
    return TSN_OK;
}

/* ---- redis -------------------------------------------------------------------------------- */

static struct sockaddr_in loopback(int port)
{
    struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return to;
}

/* A port that was free a moment ago: somebody may take it before Redis does, hence the tries. */
static int free_port(void)
{
    struct sockaddr_in at = loopback(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&at, sizeof at) == 0 && getsockname(fd, (struct sockaddr *)&at, &len) == 0)
        port = ntohs(at.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

static bool answers(int port)
{
    struct sockaddr_in to = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof to) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static _Noreturn void become_redis(const char *conf, const char *log, pid_t parent)
{
    sigset_t none;
    int fd;

    /* Of its own group, so that Ctrl-C stops the stages before their Redis. */
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXEC_FAILED);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0600);
    if (fd >= 0) {
        dup2(fd, STDOUT_FILENO);
        dup2(fd, STDERR_FILENO);
    }
    fd = open("/dev/null", O_RDONLY);
    if (fd >= 0)
        dup2(fd, STDIN_FILENO);
    execlp("redis-server", "redis-server", conf, (char *)NULL);
    /* Debian's redis-tools alone: its checker is the server by another name, and goes by argv[0]. */
    execlp("redis-check-rdb", "redis-server", conf, (char *)NULL);
    _exit(EXEC_FAILED);
}

static void kill_redis(struct demo_services *s)
{
    if (s->redis <= 0)
        return;
    kill(s->redis, SIGKILL); /* it keeps nothing */
    waitpid(s->redis, NULL, 0);
    s->redis = 0;
}

/* OK, NOT_FOUND (no such program), or UNREACHABLE (it does not come up: try another port). */
static enum tsn_err wait_for_redis(struct demo_services *s, struct tsn_error *error)
{
    for (int waited_ms = 0; waited_ms < READY_MS; waited_ms += STEP_MS) {
        int status;

        if (waitpid(s->redis, &status, WNOHANG) == s->redis) {
            s->redis = 0;
            if (WIFEXITED(status) && WEXITSTATUS(status) == EXEC_FAILED)
                return tsn_error_set(error, TSN_ERR_NOT_FOUND, "redis-server cannot be run: install redis-server, or Debian's redis-tools");
            return tsn_error_set(error, TSN_ERR_UNREACHABLE, "the private redis-server ended at once");
        }
        if (answers(s->redis_port))
            return TSN_OK;
        nap();
    }
    return tsn_error_set(error, TSN_ERR_UNREACHABLE, "the private redis-server does not listen after %d s", READY_MS / 1000);
}

static enum tsn_err start_redis_once(struct demo_services *s, int try, struct tsn_error *error)
{
    char conf[200], log[200], text[600];
    pid_t parent = getpid();

    s->redis_port = free_port();
    snprintf(conf, sizeof conf, "%s/redis-%d.conf", s->dir, try);
    snprintf(log, sizeof log, "%s/redis-%d.log", s->dir, try);
    snprintf(text, sizeof text, "bind 127.0.0.1\nport %d\nrequirepass %s\ndir %s\nsave \"\"\nappendonly no\ndaemonize no\n", s->redis_port,
             s->redis_password, s->dir);
    if (write_file(conf, text, error))
        return error->code;
    s->redis = fork();
    if (s->redis == 0)
        become_redis(conf, log, parent);
    if (s->redis < 0) {
        s->redis = 0;
        return tsn_error_set(error, TSN_ERR_IO, "fork: %s", strerror(errno));
    }
    if (wait_for_redis(s, error))
        kill_redis(s);
    return s->redis ? TSN_OK : error->code;
}

static enum tsn_err start_redis(struct demo_services *s, struct tsn_error *error)
{
    unsigned char secret[16];

    if (getrandom(secret, sizeof secret, 0) != (ssize_t)sizeof secret)
        return tsn_error_set(error, TSN_ERR_IO, "getrandom: %s", strerror(errno));
    for (size_t i = 0; i < sizeof secret; i++)
        snprintf(s->redis_password + 2 * i, 3, "%02x", secret[i]);
    for (int try = 0; try < START_TRIES; try++) {
        enum tsn_err err = start_redis_once(s, try, error);

        if (err != TSN_ERR_UNREACHABLE)
            return err;
    }
    return error->code;
}

/* ---- all ---------------------------------------------------------------------------------- */

enum tsn_err demo_services_start(struct demo_services *s, struct tsn_error *error)
{
    memset(s, 0, sizeof *s);
    if (make_folder(s, error) || start_redis(s, error)) {
        demo_services_stop(s);
        return error->code;
    }
    return TSN_OK;
}

static void remove_file(const struct demo_services *s, const char *name)
{
    char path[300];

    snprintf(path, sizeof path, "%s/%s", s->dir, name);
    unlink(path);
}

void demo_services_stop(struct demo_services *s)
{
    kill_redis(s);
    if (!s->dir[0])
        return;
    for (size_t i = 0; i < tsn_rule_file_count; i++)
        remove_file(s, tsn_rule_files[i].name);
    for (int try = 0; try < START_TRIES; try++) {
        char name[32];

        snprintf(name, sizeof name, "redis-%d.conf", try);
        remove_file(s, name);
        snprintf(name, sizeof name, "redis-%d.log", try);
        remove_file(s, name);
    }
    rmdir(s->dir);
    s->dir[0] = '\0';
}
