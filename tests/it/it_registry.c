/*
 * The schema registry client against a real registry, and against a small server of our own that answers 404, 500, slowly, hugely,
 * with HTML, with what is not Avro, and not at all.
 *
 * Method: the server counts requests, so "asked once" and "not asked while the wait lasts" are numbers. Waits are 100 ms
 * and longer; bounds allow for a busy machine.
 */
#include "lib_services.h"
#include "tocsin/registry.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

/* ---- a server ----------------------------------------------------------------------------- */

enum { ID_GOOD = 1, ID_MISSING = 404, ID_BROKEN_TWICE = 500, ID_SLOW = 900, ID_HUGE = 901, ID_HTML = 902, ID_JSON_SCHEMA = 903,
       ID_REFERENCES = 904, ID_SECRET = 905, ID_CUT = 906, ID_BUSY = 429 };

static struct {
    int listener, port;
    pthread_t thread;
    atomic_int requests, broken, missing;
    atomic_bool stop;
} server;

static void reply(int fd, int status, const char *body, size_t claim)
{
    char head[160];
    int len = snprintf(head, sizeof head, "HTTP/1.1 %d x\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
                       status, claim ? claim : strlen(body));

    if (write(fd, head, (size_t)len) < 0 || write(fd, body, strlen(body)) < 0)
        return;
}

static void reply_huge(int fd)
{
    char block[4096];

    memset(block, 'x', sizeof block);
    reply(fd, 200, "{\"schema\":\"", 64 << 20);
    for (int i = 0; i < (64 << 20) / (int)sizeof block; i++)
        if (send(fd, block, sizeof block, MSG_NOSIGNAL) <= 0)
            return;
}

static void serve(int fd)
{
    static const char good[] = "{\"schema\":\"{\\\"type\\\":\\\"string\\\"}\"}";
    char request[4096] = "";
    ssize_t got = read(fd, request, sizeof request - 1);
    const char *at = got > 0 ? strstr(request, "/schemas/ids/") : NULL;
    int id = at ? (int)strtol(at + 13, NULL, 10) : -1;

    atomic_fetch_add(&server.requests, 1);
    switch (id) {
    case ID_MISSING:
        atomic_fetch_add(&server.missing, 1);
        reply(fd, 404, "{\"error_code\":40403,\"message\":\"Schema not found\"}", 0);
        break;
    case ID_BROKEN_TWICE: reply(fd, atomic_fetch_add(&server.broken, 1) < 2 ? 500 : 200, good, 0); break;
    case ID_BUSY: reply(fd, 429, "{}", 0); break;
    case ID_SLOW: tsn_it_sleep_ms(900); break;
    case ID_HUGE: reply_huge(fd); break;
    case ID_HTML: reply(fd, 200, "<html>welcome to the hotel network</html>", 0); break;
    case ID_JSON_SCHEMA: reply(fd, 200, "{\"schema\":\"{}\",\"schemaType\":\"JSON\"}", 0); break;
    case ID_REFERENCES: reply(fd, 200, "{\"schema\":\"{}\",\"references\":[{\"name\":\"a\",\"subject\":\"a\",\"version\":1}]}", 0); break;
    case ID_SECRET: reply(fd, strstr(request, "Authorization: Basic dXNlcjpwYXNz") ? 200 : 401, good, 0); break;
    case ID_CUT: reply(fd, 200, "{\"schema\":", 500); break;
    default: reply(fd, id >= 0 || strstr(request, "/subjects") ? 200 : 404, good, 0); break;
    }
}

static void *server_main(void *arg)
{
    (void)arg;
    while (!atomic_load(&server.stop)) {
        int fd = accept(server.listener, NULL, NULL);

        if (fd < 0)
            continue;
        if (!atomic_load(&server.stop))
            serve(fd);
        close(fd);
    }
    return NULL;
}

static int listen_on(int *port)
{
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)*port) };
    socklen_t len = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM, 0), yes = 1;

    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    *port = ntohs(at.sin_port);
    return fd;
}

static int start_server(void **state)
{
    (void)state;
    server.listener = listen_on(&server.port);
    assert_int_equal(listen(server.listener, 16), 0);
    return pthread_create(&server.thread, NULL, server_main, NULL);
}

static int stop_server(void **state)
{
    (void)state;
    atomic_store(&server.stop, true);
    shutdown(server.listener, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.listener);
    return 0;
}

static struct tsn_registry *client(const char *url, const char *more)
{
    struct tsn_buf text = TSN_BUF_INIT;
    struct tsn_registry *registry;
    struct tsn_config config;
    struct tsn_error error = { 0 };

    tsn_buf_printf(&text, "registry: { url: \"%s\"%s%s%s }\n", url, strstr(more, "timeout") ? "" : ", timeout: 5s",
                   strstr(more, "retry") ? "" : ", retry_min: 100ms, retry_max: 400ms", more);
    assert_int_equal(tsn_config_parse(&config, "t.yaml", text.data, text.len, NULL, &error), TSN_OK);
    registry = tsn_registry_new(&config, &error);
    assert_non_null(registry);
    tsn_config_release(&config);
    tsn_buf_release(&text);
    return registry;
}

static struct tsn_registry *local_client(const char *more)
{
    char url[64];

    snprintf(url, sizeof url, "http://127.0.0.1:%d/", server.port);
    return client(url, more);
}

static enum tsn_err ask(struct tsn_registry *r, int32_t id, const char *expected_in_message)
{
    const char *json = NULL;
    struct tsn_error error = { 0 };
    size_t len = 0;
    enum tsn_err err = tsn_registry_schema(r, id, &json, &len, &error);

    if (!err) {
        assert_non_null(json);
        assert_int_equal(strlen(json), len);
        return err;
    }
    if (!strstr(error.message, expected_in_message))
        fail_msg("'%s' does not hold '%s'", error.message, expected_in_message);
    assert_int_equal(error.retriable, err == TSN_ERR_UNREACHABLE);
    return err;
}

/* ---- tests -------------------------------------------------------------------------------- */

static void test_good_is_asked_once(void **state)
{
    struct tsn_registry *r = local_client("");
    int before = atomic_load(&server.requests);
    struct tsn_registry_stats stats;
    const char *first, *second;
    size_t len;

    (void)state;
    assert_int_equal(tsn_registry_schema(r, ID_GOOD, &first, &len, NULL), TSN_OK);
    assert_string_equal(first, "{\"type\":\"string\"}");
    for (int i = 0; i < 100; i++)
        assert_int_equal(tsn_registry_schema(r, ID_GOOD, &second, &len, NULL), TSN_OK);
    assert_ptr_equal(first, second);
    assert_int_equal(atomic_load(&server.requests) - before, 1);
    tsn_registry_get_stats(r, &stats);
    assert_int_equal(stats.hits, 101);
    assert_int_equal(stats.known, 1);
    assert_int_equal(tsn_registry_ping(r, NULL), TSN_OK);
    tsn_registry_free(&r);
}

static void test_missing_waits_longer_each_time(void **state)
{
    struct tsn_registry *r = local_client("");
    int64_t end_ms = tsn_it_now_ms() + 1500;
    int before = atomic_load(&server.missing), asked;

    (void)state;
    while (tsn_it_now_ms() < end_ms) {
        assert_int_equal(ask(r, ID_MISSING, "schema id 404: is unknown to the registry (HTTP 404)"), TSN_ERR_NOT_FOUND);
        tsn_it_sleep_ms(1);
    }
    /* Waits of 75–100, 150–200, 300–400, 300–400 … ms: 5 to 7 requests, not 1,500. */
    asked = atomic_load(&server.missing) - before;
    assert_in_range(asked, 2, 7);
    /* Others are served meanwhile. */
    assert_int_equal(ask(r, ID_GOOD, ""), TSN_OK);
    tsn_registry_free(&r);
}

static void test_broken_comes_back(void **state)
{
    struct tsn_registry *r = local_client("");
    int64_t end_ms = tsn_it_now_ms() + 20000;
    struct tsn_registry_stats stats;
    enum tsn_err err;

    (void)state;
    assert_int_equal(ask(r, ID_BROKEN_TWICE, "answers HTTP 500"), TSN_ERR_UNREACHABLE);
    assert_int_equal(ask(r, ID_GOOD, ""), TSN_OK); /* one id's trouble is not the others' */
    while ((err = ask(r, ID_BROKEN_TWICE, "HTTP 500")) == TSN_ERR_UNREACHABLE && tsn_it_now_ms() < end_ms)
        tsn_it_sleep_ms(5);
    assert_int_equal(err, TSN_OK);
    assert_int_equal(atomic_load(&server.broken), 3);
    tsn_registry_get_stats(r, &stats);
    assert_int_equal(stats.known, 2);
    assert_int_equal(stats.bad, 0);
    tsn_registry_free(&r);
}

static void test_answers_that_are_of_no_use(void **state)
{
    struct tsn_registry *r = local_client(", max_schema_bytes: 64KiB");

    (void)state;
    assert_int_equal(ask(r, ID_HUGE, "longer than 65536 bytes"), TSN_ERR_NOT_FOUND);
    assert_int_equal(ask(r, ID_HTML, "not a schema registry's"), TSN_ERR_UNREACHABLE);
    assert_int_equal(ask(r, ID_JSON_SCHEMA, "is of type JSON, not AVRO"), TSN_ERR_NOT_FOUND);
    assert_int_equal(ask(r, ID_REFERENCES, "refers to other subjects"), TSN_ERR_NOT_FOUND);
    assert_int_equal(ask(r, ID_SECRET, "does not let us in"), TSN_ERR_UNREACHABLE);
    assert_int_equal(ask(r, ID_BUSY, "HTTP 429"), TSN_ERR_UNREACHABLE);
    assert_int_equal(ask(r, ID_GOOD, ""), TSN_OK);
    assert_int_equal(ask(r, ID_CUT, "registry http://127.0.0.1"), TSN_ERR_UNREACHABLE);
    tsn_registry_free(&r);
    r = local_client(", username: user, password: pass");
    assert_int_equal(ask(r, ID_SECRET, ""), TSN_OK);
    tsn_registry_free(&r);
}

static void test_slow_costs_one_timeout(void **state)
{
    struct tsn_registry *r = local_client(", timeout: 300ms, retry_min: 20s, retry_max: 20s");
    int64_t begin_ms = tsn_it_now_ms(), took_ms;

    (void)state;
    assert_int_equal(ask(r, ID_SLOW, "registry http://127.0.0.1"), TSN_ERR_UNREACHABLE);
    took_ms = tsn_it_now_ms() - begin_ms;
    assert_in_range(took_ms, 250, 5000); /* 300 ms, on a machine that may be busy */
    /* Down for all ids, and at no cost, until the wait is over. */
    begin_ms = tsn_it_now_ms();
    for (int32_t id = 1000; id < 2000; id++)
        assert_int_equal(ask(r, id, "registry http://127.0.0.1"), TSN_ERR_UNREACHABLE);
    assert_true(tsn_it_now_ms() - begin_ms < 10000); /* a thousand timeouts would be 300 s */
    tsn_registry_free(&r);
    tsn_it_sleep_ms(1000); /* the server takes one at a time, and still sleeps */
}

static void test_down_and_up_again(void **state)
{
    int port = 0, fd = listen_on(&port); /* bound, not listening: connections are refused */
    char url[64];
    struct tsn_registry *r;
    struct tsn_registry_stats stats;

    (void)state;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    r = client(url, "");
    for (int i = 0; i < 50; i++)
        assert_int_equal(ask(r, ID_GOOD, "registry http://127.0.0.1"), TSN_ERR_UNREACHABLE);
    tsn_registry_get_stats(r, &stats);
    assert_int_equal(stats.fetches, 1);
    assert_int_equal(stats.bad, 0);
    assert_int_equal(tsn_registry_ping(r, NULL), TSN_ERR_UNREACHABLE);
    tsn_registry_free(&r);
    close(fd);
}

static void test_limit_of_ids(void **state)
{
    struct tsn_registry *r = local_client(", max_schemas: 2");
    struct tsn_registry_stats stats;

    (void)state;
    assert_int_equal(ask(r, ID_MISSING, "HTTP 404"), TSN_ERR_NOT_FOUND);
    assert_int_equal(ask(r, 10, ""), TSN_OK);
    assert_int_equal(ask(r, 11, ""), TSN_OK); /* in the place of the bad one */
    assert_int_equal(ask(r, 12, "max_schemas (2) is reached"), TSN_ERR_NOT_FOUND);
    assert_int_equal(ask(r, 10, ""), TSN_OK);
    tsn_registry_get_stats(r, &stats);
    assert_int_equal(stats.known, 2);
    assert_int_equal(stats.bad, 0);
    assert_int_equal(stats.limit, 1);
    tsn_registry_free(&r);
}

static void test_wrong_urls(void **state)
{
    static const char *const wrong[] = { "", "registry:8081", "ftp://registry/", "file:///etc/passwd" };
    struct tsn_config config;
    struct tsn_error error;

    (void)state;
    tsn_config_init(&config);
    for (size_t i = 0; i < TSN_ARRAY_LEN(wrong); i++) {
        tsn_free(config.registry.url);
        config.registry.url = tsn_strdup(wrong[i]);
        assert_null(tsn_registry_new(&config, &error));
        assert_int_equal(error.code, TSN_ERR_INVALID);
    }
    tsn_config_release(&config);
}

/* ---- a real one --------------------------------------------------------------------------- */

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
    tsn_buf_append(arg, data, size * count);
    return size * count;
}

static int32_t post_schema(const char *subject)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    struct tsn_buf url = TSN_BUF_INIT, answer = TSN_BUF_INIT;
    CURL *curl = curl_easy_init();
    const char *id;
    int32_t number;

    tsn_buf_printf(&url, "%s/subjects/%s-value/versions", tsn_it_registry(), subject);
    curl_easy_setopt(curl, CURLOPT_URL, url.data);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "{\"schema\":\"{\\\"type\\\":\\\"record\\\",\\\"name\\\":\\\"Seen\\\",\\\"fields\\\":"
                                               "[{\\\"name\\\":\\\"n\\\",\\\"type\\\":\\\"long\\\"}]}\"}");
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 20000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    id = strstr(tsn_buf_str(&answer), "\"id\":");
    if (!id)
        fail_msg("the registry says: %s", tsn_buf_str(&answer));
    number = (int32_t)strtol(id + 5, NULL, 10);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    tsn_buf_release(&url);
    tsn_buf_release(&answer);
    return number;
}

static void test_real_registry(void **state)
{
    struct tsn_registry *r = client(tsn_it_registry(), ", timeout: 10s");
    char *subject = tsn_it_name("registry");
    int32_t id = post_schema(subject);
    const char *json;
    struct tsn_error error;
    size_t len;

    (void)state;
    assert_int_equal(tsn_registry_ping(r, &error), TSN_OK);
    assert_int_equal(tsn_registry_schema(r, id, &json, &len, &error), TSN_OK);
    assert_non_null(strstr(json, "\"Seen\""));
    assert_int_equal(ask(r, 999999, "is unknown to the registry (HTTP 404)"), TSN_ERR_NOT_FOUND);
    tsn_free(subject);
    tsn_registry_free(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_is_asked_once),  cmocka_unit_test(test_missing_waits_longer_each_time),
        cmocka_unit_test(test_broken_comes_back),   cmocka_unit_test(test_answers_that_are_of_no_use),
        cmocka_unit_test(test_slow_costs_one_timeout), cmocka_unit_test(test_down_and_up_again),
        cmocka_unit_test(test_limit_of_ids),        cmocka_unit_test(test_wrong_urls),
        cmocka_unit_test(test_real_registry),
    };

    return cmocka_run_group_tests(tests, start_server, stop_server);
}
