/*
 * Goal: whatever a schema registry answers, the client gives a schema that the answer holds, or an error of the right class.
 * Method: a server of this target's own answers each request. First byte even: the rest is the body of a 200; odd: the rest is the
 * whole answer, status line and headers included. A schema that is given out goes on into the Avro compiler, as it does in INGEST.
 */
#include "tocsin/avro_plan.h"
#include "tocsin/registry.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct tsn_config config;
static int listener = -1;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct tsn_buf reply; /* under lock */

static void *serve(void *arg)
{
    char request[4096];

    TSN_UNUSED(arg);
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        struct tsn_buf copy = TSN_BUF_INIT;

        if (fd < 0)
            return NULL;
        (void)!recv(fd, request, sizeof request, 0); /* a GET fits in one piece on loopback */
        pthread_mutex_lock(&lock);
        tsn_buf_append(&copy, tsn_buf_str(&reply), reply.len);
        pthread_mutex_unlock(&lock);
        (void)!send(fd, tsn_buf_str(&copy), copy.len, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
        close(fd);
        tsn_buf_release(&copy);
    }
}

static void set_up(void)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t len = sizeof at;
    struct tsn_buf url = TSN_BUF_INIT;
    pthread_t thread;

    tsn_log_level_set(TSN_LOG_ERROR);
    listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    TSN_ASSERT(listener >= 0 && !bind(listener, (struct sockaddr *)&at, sizeof at) && !listen(listener, 64) &&
               !getsockname(listener, (struct sockaddr *)&at, &len));
    TSN_ASSERT(pthread_create(&thread, NULL, serve, NULL) == 0);
    pthread_detach(thread);
    tsn_config_init(&config);
    tsn_buf_printf(&url, "http://127.0.0.1:%d", ntohs(at.sin_port));
    tsn_free(config.registry.url);
    config.registry.url = tsn_buf_take(&url, NULL);
    config.registry.max_schema_bytes = 65536;
    config.registry.timeout_ms = 1000;
}

static void set_reply(const uint8_t *data, size_t size)
{
    pthread_mutex_lock(&lock);
    tsn_buf_reset(&reply);
    if (data[0] % 2 == 0)
        tsn_buf_printf(&reply, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", size - 1);
    tsn_buf_append(&reply, (const char *)data + 1, size - 1);
    pthread_mutex_unlock(&lock);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tsn_registry_stats stats;
    struct tsn_registry *r;
    struct tsn_error error = { 0 };
    const char *json = NULL;
    size_t len = 0;
    enum tsn_err err;

    if (!size)
        return 0;
    if (listener < 0)
        set_up();
    set_reply(data, size);
    r = tsn_registry_new(&config, NULL);
    err = tsn_registry_schema(r, 7, &json, &len, &error);
    TSN_ASSERT(err == TSN_OK || err == TSN_ERR_NOT_FOUND || err == TSN_ERR_UNREACHABLE);
    if (err) {
        TSN_ASSERT(error.code == err && tsn_utf8_valid(error.message, strlen(error.message)));
        TSN_ASSERT(tsn_registry_schema(r, 7, &json, &len, NULL) == err); /* within the wait: from memory */
    } else {
        struct tsn_avro_plan *plan = tsn_avro_plan_new(json, len, json, len, &error);

        TSN_ASSERT(len <= 65536 && json[len] == '\0');
        tsn_avro_plan_free(&plan);
    }
    tsn_registry_get_stats(r, &stats);
    TSN_ASSERT(stats.fetches == 1 && stats.known + stats.bad <= 1);
    tsn_registry_free(&r);
    return 0;
}
