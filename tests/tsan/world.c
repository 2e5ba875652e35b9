/* world: see world.h. */
#include "world.h"
#include "fake_kafka.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { READY_MS = 20000, SAMPLES_PARTITIONS = 4 };

static const char rules[] =
    "groups:\n"
    "  - name: stages\n"
    "    interval: 5s\n"
    "    rules:\n"
    "      - { record: 'service:errors:rate1m', expr: 'sum by (service) (rate(errors_total[1m]))' }\n"
    "      - { alert: Errors, expr: 'service:errors:rate1m > 2', for: 10s, keep_firing_for: 10s, labels: { severity: critical } }\n"
    "      - { alert: Hot, expr: 'max_over_time(temp[20s]) > 50', labels: { severity: warning } }\n"
    "      - { alert: Hooks, expr: 'increase(hooks_processed_total{status=\"error\"}[30s]) > 20', labels: { severity: warning } }\n"
    "      - { alert: Lines, expr: 'sum by (service) (increase(log_messages_total{level=\"ERROR\"}[1m])) > 30', for: 5s }\n"
    "      - { alert: Patterns, expr: 'sum by (service, template) (increase(log_template_messages_total{level=\"ERROR\"}[1m])) > 100' }\n";

struct world {
    char dir[64];
    pid_t redis;
    int port;
    struct tsn_config configs[WORLD_SLOTS];
};

void world_sleep_ms(int ms)
{
    struct timespec pause = { ms / 1000, (long)(ms % 1000) * 1000000 };

    nanosleep(&pause, NULL);
}

static void die(const char *word)
{
    fprintf(stderr, "%s\n", word);
    exit(1);
}

/* ---- Redis --------------------------------------------------------------------------------- */

static struct sockaddr_in local(int port)
{
    return (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port) };
}

static int free_port(void)
{
    struct sockaddr_in at = local(0);
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0 || bind(fd, (struct sockaddr *)&at, sizeof at) || getsockname(fd, (struct sockaddr *)&at, &len))
        die("no port is free");
    close(fd);
    return ntohs(at.sin_port);
}

bool world_ask(int port, const char *command, const char *expected)
{
    struct sockaddr_in at = local(port);
    char answer[64] = "";
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && !connect(fd, (struct sockaddr *)&at, sizeof at) && send(fd, command, strlen(command), MSG_NOSIGNAL) > 0 &&
              recv(fd, answer, sizeof answer - 1, 0) > 0 && strncmp(answer, expected, strlen(expected)) == 0;

    if (fd >= 0)
        close(fd);
    return ok;
}

static void start_redis(struct world *w)
{
    char port[16];

    w->port = free_port();
    snprintf(port, sizeof port, "%d", w->port);
    w->redis = fork();
    if (w->redis == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* it must not outlive a test that ends badly */
        execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--loglevel", "warning",
               "--dir", w->dir, (char *)NULL);
        _exit(127);
    }
    for (int waited = 0; !world_ask(w->port, "PING\r\n", "+PONG"); waited += 20) {
        if (waited > READY_MS || waitpid(w->redis, NULL, WNOHANG) != 0)
            die("redis-server does not start");
        world_sleep_ms(20);
    }
}

void world_wipe_redis(struct world *w) { TSN_ASSERT(world_ask(w->port, "FLUSHALL\r\n", "+OK")); }

/* ---- files and configurations -------------------------------------------------------------- */

void world_write_rules(struct world *w, const char *head)
{
    char path[128], fresh[128];
    FILE *out;

    snprintf(path, sizeof path, "%s/rules.yaml", w->dir);
    snprintf(fresh, sizeof fresh, "%s/rules.new", w->dir);
    out = fopen(fresh, "w");
    if (!out || fprintf(out, "%s%s", head, rules) < 0 || fclose(out) || rename(fresh, path))
        die("the rules cannot be written");
}

static void configure(struct world *w, int slot)
{
    struct tsn_buf text = TSN_BUF_INIT, file = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    /* Idleness is not what is tested here: a machine that stands still for a second must not change the result. */
    tsn_buf_printf(&text,
                   "kafka: { bootstrap.servers: \"nowhere:1\" }\n"
                   "redis: { url: \"redis://127.0.0.1:%d/0\", command_timeout: 20s }\n"
                   "inputs: [ { topic: m, type: metrics }, { topic: l, type: logs }, { topic: h, type: hooks } ]\n"
                   "rules: [ \"rules.yaml\" ]\n"
                   "time: { idle_timeout: 10m, blind_after: 10m }\n"
                   "ingest: { batch_interval: 20ms }\n"
                   "detect: { commit_interval: 20ms }\n"
                   "http: { listen: \"127.0.0.1:0\" }\n"
                   "worker: { slot: %d }\n", w->port, slot);
    tsn_buf_printf(&file, "%s/tocsin.yaml", w->dir);
    if (tsn_config_parse(&w->configs[slot], file.data, text.data, text.len, NULL, &error))
        die(error.message);
    tsn_buf_release(&text);
    tsn_buf_release(&file);
}

struct world *world_new(void)
{
    struct world *w = tsn_calloc(1, sizeof *w);
    const char *tmp = getenv("TMPDIR");

    snprintf(w->dir, sizeof w->dir, "%s/tocsin-tsan-XXXXXX", tmp && strlen(tmp) < 40 ? tmp : "/tmp");
    if (!mkdtemp(w->dir))
        die("no folder for files");
    start_redis(w);
    for (int slot = 0; slot < WORLD_SLOTS; slot++)
        configure(w, slot);
    return w;
}

void world_free(struct world **world)
{
    struct world *w = *world;
    char path[128];

    kill(w->redis, SIGTERM);
    waitpid(w->redis, NULL, 0);
    for (int slot = 0; slot < WORLD_SLOTS; slot++)
        tsn_config_release(&w->configs[slot]);
    snprintf(path, sizeof path, "%s/rules.yaml", w->dir);
    unlink(path);
    rmdir(w->dir);
    fake_kafka_reset(0);
    tsn_free(w);
    *world = NULL;
}

void world_begin(struct world *w, uint64_t seed)
{
    static const struct {
        const char *name;
        int32_t partitions;
    } topics[] = { { "samples", SAMPLES_PARTITIONS }, { "state", SAMPLES_PARTITIONS }, { "rules", 1 }, { "templates", 1 }, { "alerts", 1 },
                   { "commands", 1 }, { "incidents", 2 }, { "respond", 1 }, { "deadletter", 1 } };
    char name[64];

    fake_kafka_reset(seed);
    for (size_t i = 0; i < TSN_ARRAY_LEN(topics); i++) {
        snprintf(name, sizeof name, "tocsin.%s", topics[i].name);
        fake_kafka_topic(name, topics[i].partitions);
    }
    world_wipe_redis(w);
    world_write_rules(w, "");
}

const struct tsn_config *world_config(const struct world *w, int slot) { return &w->configs[slot]; }

struct tsn_app *world_start(struct world *w, int slot)
{
    struct tsn_app_options options = { .config = &w->configs[slot], .stages = TSN_STAGE_ALL };
    struct tsn_error error = { 0 };
    struct tsn_app *app = tsn_app_new(&options, &error);

    if (!app || tsn_app_start(app, &error)) {
        fprintf(stderr, "slot %d: %s\n", slot, error.message);
        tsn_app_free(&app);
    }
    return app;
}
