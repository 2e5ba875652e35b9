/*
 * The HTTP server: routes, methods, the token, limits, a taken port, and an end while somebody is connected. Needs no service.
 */
#include "lib_services.h"
#include "tocsin/http.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

static void say_ok(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    TSN_UNUSED(request);
    tsn_buf_puts(&response->body, arg);
}

static void echo(void *arg, const struct tsn_http_request *request, struct tsn_http_response *response)
{
    const char *name = tsn_http_query(request, "name");

    TSN_UNUSED(arg);
    response->status = 202;
    response->content_type = "application/json";
    tsn_buf_printf(&response->body, "%s %s name=%s body=%zu:%s", request->method, request->path, name ? name : "-", request->body_len,
                   request->body_len < 100 ? request->body : "long");
}

static const struct tsn_http_route routes[] = {
    { "GET", "/metrics", true, say_ok, (void *)(uintptr_t)"up 1\n" },
    { "GET", "/api/incidents", false, echo, NULL },
    { "POST", "/api/incidents/*", false, echo, NULL },
};

static struct tsn_http *serve(const char *token)
{
    struct tsn_error error = { 0 };
    struct tsn_http *http = tsn_http_start(&(struct tsn_http_options){ "127.0.0.1:0", token, routes, TSN_ARRAY_LEN(routes) }, &error);

    if (!http)
        fail_msg("%s", error.message);
    return http;
}

struct reply {
    long status;
    struct tsn_buf body, head;
};

static size_t keep(char *data, size_t size, size_t count, void *arg)
{
    tsn_buf_append(arg, data, size * count);
    return size * count;
}

static struct reply call(const struct tsn_http *http, const char *method, const char *path, const char *token, const char *body)
{
    struct reply reply = { 0 };
    struct curl_slist *headers = curl_slist_append(NULL, "Expect:");
    CURL *curl = curl_easy_init();
    char text[300];

    snprintf(text, sizeof text, "http://127.0.0.1:%d%s", tsn_http_port(http), path);
    curl_easy_setopt(curl, CURLOPT_URL, text);
    if (token) {
        snprintf(text, sizeof text, "Authorization: %s", token);
        headers = curl_slist_append(headers, text);
    }
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_NOBODY, strcmp(method, "HEAD") == 0 ? 1L : 0L);
    if (body)
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, 5000L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.head);
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_easy_cleanup(curl);
    curl_slist_free_all(headers);
    return reply;
}

static void expect(const struct tsn_http *http, const char *method, const char *path, const char *token, const char *body, long status,
                   const char *in_body, const char *in_head)
{
    struct reply reply = call(http, method, path, token, body);

    if (reply.status != status || !strstr(tsn_buf_str(&reply.body), in_body) || !strstr(tsn_buf_str(&reply.head), in_head))
        fail_msg("%s %s: %ld\n%s%s", method, path, reply.status, tsn_buf_str(&reply.head), tsn_buf_str(&reply.body));
    if (strcmp(method, "HEAD") == 0)
        assert_int_equal(reply.body.len, 0);
    tsn_buf_release(&reply.body);
    tsn_buf_release(&reply.head);
}

static void test_without_token(void **state)
{
    struct tsn_http *http = serve("");

    (void)state;
    expect(http, "GET", "/metrics", NULL, NULL, 200, "up 1\n", "Content-Type: text/plain; charset=utf-8");
    expect(http, "GET", "/metrics?x=1", NULL, NULL, 200, "up 1\n", "Cache-Control: no-store");
    expect(http, "HEAD", "/metrics", NULL, NULL, 200, "", "Content-Length: 5");
    expect(http, "POST", "/metrics", NULL, "x", 405, "405", "Allow: GET");
    expect(http, "GET", "/metrics/", NULL, NULL, 404, "404", "");
    expect(http, "GET", "/../metrics", NULL, NULL, 404, "404", "");
    expect(http, "GET", "/api/incidents", NULL, NULL, 403, "http.token is not configured", "");
    expect(http, "GET", "/api/incidents", "Bearer ", NULL, 403, "http.token is not configured", "");
    tsn_http_stop(&http);
    assert_null(http);
    tsn_http_stop(&http);
}

static void test_token(void **state)
{
    struct tsn_http *http = serve("sesame");

    (void)state;
    expect(http, "GET", "/metrics", NULL, NULL, 200, "up 1\n", "");
    expect(http, "GET", "/api/incidents", NULL, NULL, 401, "401", "WWW-Authenticate: Bearer");
    expect(http, "GET", "/api/incidents", "Bearer sesam", NULL, 401, "401", "");
    expect(http, "GET", "/api/incidents", "Bearer sesamesesame", NULL, 401, "401", "");
    expect(http, "GET", "/api/incidents", "Bearer ", NULL, 401, "401", "");
    expect(http, "GET", "/api/incidents", "Basic sesame", NULL, 401, "401", "");
    expect(http, "GET", "/api/incidents?name=a%20b", "Bearer sesame", NULL, 202, "GET /api/incidents name=a b body=0:",
           "Content-Type: application/json");
    expect(http, "POST", "/api/incidents/42/ack", "Bearer sesame", "{\"by\":\"me\"}", 202, "POST /api/incidents/42/ack name=- body=11:{\"by\":\"me\"}", "");
    tsn_http_stop(&http);
}

static void test_body_limit(void **state)
{
    struct tsn_http *http = serve("sesame");
    char *text = tsn_alloc(TSN_HTTP_BODY_BYTES + 2);

    (void)state;
    memset(text, 'x', TSN_HTTP_BODY_BYTES + 1);
    text[TSN_HTTP_BODY_BYTES] = '\0';
    expect(http, "POST", "/api/incidents/1", "Bearer sesame", text, 202, "body=65536:long", "");
    text[TSN_HTTP_BODY_BYTES] = 'x';
    text[TSN_HTTP_BODY_BYTES + 1] = '\0';
    expect(http, "POST", "/api/incidents/1", "Bearer sesame", text, 413, "longer than 65536", "");
    tsn_free(text);
    tsn_http_stop(&http);
}

static void test_listen(void **state)
{
    struct tsn_http *http = serve(""), *second;
    struct tsn_error error = { 0 };
    char listen[64];

    (void)state;
    snprintf(listen, sizeof listen, "127.0.0.1:%d", tsn_http_port(http));
    second = tsn_http_start(&(struct tsn_http_options){ listen, "", routes, TSN_ARRAY_LEN(routes) }, &error);
    assert_null(second);
    assert_int_equal(error.code, TSN_ERR_IO);
    assert_non_null(strstr(error.message, listen));
    assert_null(tsn_http_start(&(struct tsn_http_options){ "nonsense", "", routes, 1 }, &error));
    assert_int_equal(error.code, TSN_ERR_INVALID);
    assert_null(tsn_http_start(&(struct tsn_http_options){ "no such host.invalid:80", "", routes, 1 }, &error));
    assert_int_equal(error.code, TSN_ERR_INVALID);
    tsn_http_stop(&http);
}

/* A client that says half a request does not keep the server from ending. */
static void test_stop_while_connected(void **state)
{
    struct tsn_http *http = serve("");
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)tsn_http_port(http)) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    int64_t begin_ms;

    (void)state;
    assert_int_equal(connect(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(write(fd, "POST /api/incidents/1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", 55), 55);
    tsn_it_sleep_ms(100);
    begin_ms = tsn_it_now_ms();
    tsn_http_stop(&http);
    assert_true(tsn_it_now_ms() - begin_ms < 3000);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_without_token), cmocka_unit_test(test_token),
        cmocka_unit_test(test_body_limit),    cmocka_unit_test(test_listen),
        cmocka_unit_test(test_stop_while_connected),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
