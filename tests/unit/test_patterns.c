/*
 * patterns: signatures by shape, mining by slot cardinality, limits, snapshots, headers, extraction, secrets, joins.
 * Lines are made up here; the public corpora are scored by the conformance run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "tocsin/patterns.h"

static struct tsn_buf scratch;

static const char *sig(const char *line)
{
    return tsn_pattern_signature(NULL, line, strlen(line), &scratch).text;
}

static void test_signature_shapes(void **state)
{
    static const char *const cases[][2] = {
        { "Deleted 17 rows in 3.2s", "Deleted <*> rows in <*>" },
        { "connect 10.0.0.1:8080 ok", "connect <*> ok" },
        { "from fe80::1ff:fe23:4567:890a now", "from <*> now" },
        { "mac 00:1b:44:11:3a:b7 seen", "mac <*> seen" },
        { "id=3f2504e0-4f89-11d3-9a0c-0305e82c3301 done", "id=<*> done" },
        { "GET https://example.org/a?b=c returned", "GET <*> returned" },
        { "open /var/log/app.log failed", "open <*> failed" },
        { "to db.internal.example:5432 refused", "to <*> refused" },
        { "at Fri Jun 17 07:07:00 2005 ended", "at <*> ended" },
        { "at 2024-02-03 10:11:12,345 ended", "at <*> ended" },
        { "free 317.6 KB of 2.1 GB left", "free <*> of <*> left" },
        { "sent 2048 bytes (2.0 KB) out", "sent <*> bytes out" },
        { "enabled=true ready: FALSE", "enabled=<*> ready: <*>" },
        { "tabs\tand   blanks  ", "tabs and blanks" },
        { "level......0x1f", "level......<*>" },
        { "worker-7 joined", "<*> joined" },
        { "ids 1 2 3 4 5 gone", "ids <*> gone" },
        { "acl a,b,c set", "acl <*> set" },
        { "name=\"blue lock\" held", "name=\"<*>\" held" },
        { "mail bob@example.org bounced", "mail <*> bounced" },
        { "login password=hunter ok", "login password=<*> ok" },
        { "", "" },
        { "   ", "" },
        { "...", "..." },
        { "-", "-" },
    };

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(cases); i++)
        assert_string_equal(sig(cases[i][0]), cases[i][1]);
}

static void test_signature_is_pure(void **state)
{
    struct tsn_buf other = TSN_BUF_INIT;
    const char *line = "task 12 of job_17 finished in 3 ms";
    struct tsn_signature a = tsn_pattern_signature(NULL, line, strlen(line), &scratch);
    struct tsn_signature b = tsn_pattern_signature(NULL, line, strlen(line), &other);

    (void)state;
    assert_true(a.hash == b.hash && a.len == b.len && !a.cut && !a.pinned);
    assert_true(a.hash == tsn_hash64(a.text, a.len));
    tsn_buf_release(&other);
}

static void test_hostile_lines(void **state)
{
    size_t len = 1 << 20;
    char *line = tsn_alloc(len);
    struct tsn_signature s;

    (void)state;
    memset(line, 'x', len);
    s = tsn_pattern_signature(NULL, line, len, &scratch);
    assert_true(s.cut);
    assert_string_equal(s.text, "<*>");
    for (size_t i = 0; i < len; i++)
        line[i] = (char)(i * 7 + i / 256);
    s = tsn_pattern_signature(NULL, line, len, &scratch);
    assert_true(s.len <= 4 * TSN_PATTERN_SCAN_MAX);
    assert_true(tsn_utf8_valid(s.text, s.len));
    memset(line, 0, len);
    assert_int_equal(tsn_pattern_signature(NULL, line, len, &scratch).len, 0);
    assert_false(tsn_pattern_signature(NULL, line, TSN_PATTERN_SCAN_MAX, &scratch).cut);
    assert_true(tsn_pattern_signature(NULL, line, TSN_PATTERN_SCAN_MAX + 1, &scratch).cut);
    assert_string_equal(sig("bad \xff\xfe utf"), "bad ?? utf");
    assert_string_equal(sig("gr\xc3\xbc\xc3\x9f" "e an alle"), "gr\xc3\xbc\xc3\x9f" "e an alle");
    tsn_free(line);
}

static void test_pins_and_masks(void **state)
{
    struct tsn_pattern_config *config = tsn_pattern_config_new();
    struct tsn_signature s;
    struct tsn_error error;
    const char *line = "order alpha-beta from shop closed";

    (void)state;
    assert_int_equal(tsn_pattern_config_mask(config, "alpha-*", &error), TSN_OK);
    assert_int_equal(tsn_pattern_config_pin(config, "user <*> said <*>", &error), TSN_OK);
    assert_int_equal(tsn_pattern_config_mask(config, "", &error), TSN_ERR_INVALID);
    s = tsn_pattern_signature(config, line, strlen(line), &scratch);
    assert_string_equal(s.text, "order <*> from shop closed");
    s = tsn_pattern_signature(config, "user bob said hello there", 25, &scratch);
    assert_true(s.pinned);
    assert_string_equal(s.text, "user <*> said <*>");
    for (int i = 1; i < 64; i++)
        assert_int_equal(tsn_pattern_config_mask(config, "m", &error), TSN_OK);
    assert_int_equal(tsn_pattern_config_mask(config, "m", &error), TSN_ERR_LIMIT);
    tsn_pattern_config_free(&config);
    assert_null(config);
}

static struct tsn_miner_result feed(struct tsn_miner *m, uint32_t scope, const char *line, int64_t ts)
{
    struct tsn_signature s = tsn_pattern_signature(NULL, line, strlen(line), &scratch);

    return tsn_miner_add(m, scope, s.hash, s.text, s.len, s.pinned, 1, ts);
}

static void test_states_stay_apart_names_fold(void **state)
{
    static const char *const names[] = { "anna", "bert", "carl", "dora", "emil", "fritz", "gustav", "hans" };
    struct tsn_miner *m = tsn_miner_new(NULL);
    struct tsn_template t;
    uint64_t started, first = 0;
    char line[80];
    size_t merged;

    (void)state;
    started = feed(m, 0, "machine was started", 1).id;
    assert_true(started != feed(m, 0, "machine was paused", 2).id);
    assert_true(started != feed(m, 0, "machine was resumed", 3).id);
    for (size_t i = 0; i < TSN_ARRAY_LEN(names); i++) {
        struct tsn_miner_result r;

        snprintf(line, sizeof line, "session of %s was closed", names[i]);
        r = feed(m, 0, line, (int64_t)i);
        if (i == 0)
            first = r.id;
        assert_int_equal(r.is_new, i < 5);
        assert_int_equal(r.merges, i == 5 ? 5 : 0);
        if (i >= 5)
            assert_true(r.id == first);
        if (i == 7) {
            assert_true(tsn_miner_get(m, r.ref, &t));
            assert_string_equal(t.text, "session of <*> was closed");
            assert_int_equal(t.count, 8);
            assert_int_equal(t.first_ms, 0);
            assert_int_equal(t.last_ms, 7);
        }
    }
    assert_int_equal(tsn_miner_merged(m, &merged)->into_id == first, 1);
    assert_int_equal(merged, 5);
    tsn_miner_merged_clear(m);
    assert_true(feed(m, 0, "machine was started", 9).id == started);
    tsn_miner_free(&m);
}

static void test_scopes_do_not_mix(void **state)
{
    struct tsn_miner *m = tsn_miner_new(NULL);
    uint32_t a = tsn_miner_scope(m, "api", "ERROR"), b = tsn_miner_scope(m, "web", "ERROR");
    const char *service, *level;
    struct tsn_miner_result x = feed(m, a, "disk is full", 1), y = feed(m, b, "disk is full", 1);

    (void)state;
    assert_true(x.is_new && y.is_new && x.id != y.id);
    assert_int_equal(tsn_miner_scope(m, "api", "ERROR"), a);
    tsn_miner_scope_name(m, b, &service, &level);
    assert_string_equal(service, "web");
    assert_string_equal(level, "ERROR");
    assert_int_equal(tsn_miner_count(m, a, 12345, 1, 1).ref, TSN_MINER_NONE);
    tsn_miner_free(&m);
}

/* Distinct words without end: memory stays inside the limits, and what was dropped is counted. */
static void test_limits(void **state)
{
    struct tsn_miner_limits limits = { .max_templates = 100, .max_signatures = 1000, .max_slots = 2000,
                                       .max_text_bytes = 1 << 16 };
    struct tsn_miner *m = tsn_miner_new(&limits);
    struct tsn_miner_stats stats;
    char line[128];
    uint64_t seed = 1;

    (void)state;
    for (int i = 0; i < 20000; i++) {
        char words[4][12];

        for (int w = 0; w < 4; w++) {
            for (int c = 0; c < 9; c++) {
                seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407u;
                words[w][c] = (char)('g' + (seed >> 33) % 20);
            }
            words[w][9] = '\0';
        }
        snprintf(line, sizeof line, "%s %s %s %s", words[0], words[1], words[2], words[3]);
        feed(m, 0, line, i);
        tsn_miner_merged_clear(m);
        stats = tsn_miner_stats(m);
        assert_true(stats.templates <= 100 && stats.signatures <= 1002 && stats.text_bytes <= (1 << 16) + 128);
        assert_true(stats.slots <= 2000 + 48);
    }
    assert_true(stats.evicted_templates > 19000);
    tsn_miner_free(&m);
}

static void test_snapshot(void **state)
{
    struct tsn_miner *a = tsn_miner_new(NULL), *b;
    struct tsn_buf one = TSN_BUF_INIT, two = TSN_BUF_INIT;
    struct tsn_error error;
    char line[80];
    uint32_t scope = tsn_miner_scope(a, "api", "WARN");

    (void)state;
    for (int i = 0; i < 200; i++) {
        snprintf(line, sizeof line, "user %c%c did %s today", 'a' + i % 5, 'g' + i % 11, i % 3 ? "reading" : "writing");
        feed(a, i % 2 ? scope : 0, line, i);
    }
    tsn_miner_snapshot(a, &one);
    b = tsn_miner_restore(NULL, one.data, one.len, &error);
    assert_non_null(b);
    tsn_miner_snapshot(b, &two);
    assert_int_equal(one.len, two.len);
    assert_memory_equal(one.data, two.data, one.len);
    for (int i = 0; i < 200; i++) {
        struct tsn_miner_result x, y;

        snprintf(line, sizeof line, "user %c%c did %s today", 'a' + i % 7, 'g' + i % 13, i % 3 ? "reading" : "running");
        x = feed(a, scope, line, 1000 + i);
        y = feed(b, scope, line, 1000 + i);
        assert_true(x.id == y.id && x.is_new == y.is_new && x.merges == y.merges);
    }
    tsn_miner_free(&b);
    for (size_t cut = 0; cut < one.len; cut += 7) {
        b = tsn_miner_restore(NULL, one.data, cut, &error);
        assert_null(b);
    }
    tsn_miner_free(&a);
    tsn_buf_release(&one);
    tsn_buf_release(&two);
}

static struct tsn_log_header learn(const char *format, int count)
{
    static char text[64][160];
    struct tsn_text lines[64];
    struct tsn_log_header h;

    for (int i = 0; i < count; i++) {
        snprintf(text[i], sizeof text[i], format, i % 60, i % 7 ? "reading" : "Writing 5", i);
        lines[i] = (struct tsn_text){ text[i], strlen(text[i]) };
    }
    tsn_header_learn(&h, lines, (size_t)count);
    return h;
}

static void check_skip(const char *format, const char *line, const char *rest)
{
    struct tsn_log_header h = learn(format, 40);

    assert_string_equal(line + tsn_header_skip(&h, line, strlen(line)), rest);
}

static void test_headers(void **state)
{
    (void)state;
    check_skip("2024-03-04 10:11:%02d,123 INFO [pool a] app.Client: %s the file %d",
               "2024-03-04 10:12:00,001 WARN [pool b c] app.Server: cannot do", "cannot do");
    check_skip("Mar  4 10:11:%02d web crond[77]: %s it %d", "Mar  4 11:00:00 web sshd[1]: closed", "closed");
    check_skip("[04.03 10:11:%02d] tool.exe - %s of %d", "[04.03 10:11:00] other.exe *64 - gone", "gone");
    check_skip("%d rows for %s in %d", "7 rows for reading in 3", "7 rows for reading in 3");
    check_skip("10.0.0.%d:80 served %s to %d", "10.0.0.7:80 served x to 3", "10.0.0.7:80 served x to 3");
    check_skip("2024-03-04T10:11:%02dZ level %s %d", "  at some.java.Frame", "  at some.java.Frame");
}

static void check_field(struct tsn_text t, const char *want)
{
    assert_int_equal(t.len, strlen(want));
    assert_memory_equal(t.data ? t.data : "", want, t.len);
}

static enum tsn_log_format extract(const char *line, struct tsn_log_fields *f)
{
    return tsn_log_extract(line, strlen(line), f, &scratch);
}

static void test_extract(void **state)
{
    struct tsn_log_fields f;

    (void)state;
    assert_int_equal(extract("{\"timestamp\":\"2026-01-02T03:04:05.678Z\",\"service\":\"api\",\"level\":\"ERROR\","
                             "\"x\":{\"message\":\"no\",\"a\":[1,\"]\"]},\"message\":\"a \\\"b\\\" \\u00e9\",\"n\":null}", &f),
                     TSN_LOG_FORMAT_JSON);
    check_field(f.message, "a \"b\" \xc3\xa9");
    check_field(f.service, "api");
    check_field(f.level, "ERROR");
    assert_true(f.ts_ms == 1767323045678);
    assert_int_equal(extract("ts=1767323045 level=warn msg=\"slow query\" took=3s", &f), TSN_LOG_FORMAT_LOGFMT);
    check_field(f.message, "slow query");
    check_field(f.level, "warn");
    assert_true(f.ts_ms == 1767323045000);
    assert_int_equal(extract("<165>1 2003-10-11T22:14:15.003Z host app 12 ID47 [x y=\"a\\]\"] it works", &f),
                     TSN_LOG_FORMAT_SYSLOG);
    check_field(f.message, "it works");
    check_field(f.service, "app");
    check_field(f.level, "INFO");
    assert_int_equal(extract("{\"message\":\"cut", &f), TSN_LOG_FORMAT_PLAIN);
    check_field(f.message, "{\"message\":\"cut");
    assert_int_equal(extract("a=1 b=2", &f), TSN_LOG_FORMAT_PLAIN);
    assert_int_equal(extract("", &f), TSN_LOG_FORMAT_PLAIN);
    assert_string_equal(tsn_log_level_normal("Warning", 7), "WARN");
    assert_string_equal(tsn_log_level_normal("crit", 4), "FATAL");
    assert_string_equal(tsn_log_level_normal("loud", 4), "");
}

/* level|logger|service|message of a plain line. */
static void check_plain(const char *line, const char *want)
{
    struct tsn_buf got = TSN_BUF_INIT;
    struct tsn_log_fields f;

    assert_int_equal(extract(line, &f), TSN_LOG_FORMAT_PLAIN);
    tsn_buf_printf(&got, "%.*s|%.*s|%.*s|%.*s", (int)f.level.len, f.level.data ? f.level.data : "", (int)f.logger.len,
                   f.logger.data ? f.logger.data : "", (int)f.service.len, f.service.data ? f.service.data : "", (int)f.message.len,
                   f.message.data);
    assert_string_equal(tsn_buf_str(&got), want);
    tsn_buf_release(&got);
}

static void test_plain(void **state)
{
    struct tsn_log_fields f;

    (void)state;
    check_plain("just words", "|||just words");
    check_plain("", "|||");
    check_plain("ERROR no route", "ERROR|||no route");
    check_plain("ERROR", "ERROR|||");
    check_plain("[error] no route", "error|||no route");
    check_plain("Error no route", "|||Error no route");
    check_plain("WARNING: low on space", "WARNING|||low on space");
    check_plain("ERROR:cart.db:no route", "ERROR|cart.db||no route");
    check_plain("ERROR CartService: no route", "ERROR|CartService||no route");
    check_plain("2026-01-02T03:04:05.678Z  INFO 1 --- [main] com.shop.Cart : up in 3 s", "INFO|com.shop.Cart||up in 3 s");
    check_plain("2026-01-02 03:04:05,678 - cart - ERROR - no route", "ERROR|cart||no route");
    check_plain("2026-01-02 03:04:05,678 INFO  [main] com.shop.Cart: up", "INFO|com.shop.Cart||up");
    check_plain("2026-01-02 03:04:05,678 [pool-1] WARN com.shop.Cart - slow", "WARN|com.shop.Cart||slow");
    check_plain("[2026-01-02 03:04:05] ERROR: no route", "ERROR|||no route");
    check_plain("2026-01-02 03:04:05 no level here", "|||2026-01-02 03:04:05 no level here");
    check_plain("E0102 03:04:05.678901       7 cart.go:12] no route", "E|cart.go:12||no route");
    check_plain("Jan  2 03:04:05 web-1 sshd[77]: closed", "||sshd|closed");
    check_plain("Jan  2 03:04:05 web-1 closed", "|||Jan  2 03:04:05 web-1 closed");
    check_plain("ERROR 17 of 18: gone", "ERROR|||17 of 18: gone");
    (void)extract("2026-01-02T03:04:05.678+01:00 ERROR x", &f);
    assert_true(f.ts_ms == INT64_C(1767319445678));
    (void)extract("2026-01-02 03:04:05 ERROR x", &f); /* of no zone: it could be any */
    assert_true(f.ts_ms == TSN_TIME_NONE);
}

/* What stands behind a word does not keep its template apart from that of a value. */
static void test_word_ends(void **state)
{
    static const char *const packages[] = { "curl", "perl", "media-types", "python3", "libgdbm6", "gcc-12-base", "tzdata", "libisl23.1", "bash", "sed" };
    struct tsn_miner *miner = tsn_miner_new(NULL);
    struct tsn_buf buf = TSN_BUF_INIT;
    uint32_t scope = tsn_miner_scope(miner, "", "");

    (void)state;
    for (size_t i = 0; i < TSN_ARRAY_LEN(packages); i++) {
        char line[80];
        struct tsn_signature sig;

        snprintf(line, sizeof line, "selecting package %s.", packages[i]);
        sig = tsn_pattern_signature(NULL, line, strlen(line), &buf);
        tsn_miner_add(miner, scope, sig.hash, sig.text, sig.len, false, 1, 1);
        tsn_miner_merged_clear(miner);
    }
    assert_int_equal(tsn_miner_stats(miner).templates, 1);
    tsn_miner_free(&miner);
    tsn_buf_release(&buf);
}

static void test_pins(void **state)
{
    struct tsn_pattern_config *config = tsn_pattern_config_new();
    struct tsn_buf buf = TSN_BUF_INIT;
    struct tsn_signature sig, plain;

    (void)state;
    assert_int_equal(tsn_pattern_config_pin(config, "user <*> logged in", NULL), TSN_OK);
    sig = tsn_pattern_signature(config, "user bob the 3rd logged in", 26, &buf);
    assert_true(sig.pinned && tsn_pattern_is_pin(sig.hash, sig.text, sig.len));
    assert_string_equal(sig.text, "user <*> logged in");
    plain = tsn_pattern_signature(NULL, "user 77 logged in", 17, &buf);
    assert_string_equal(plain.text, "user <*> logged in");
    assert_true(plain.hash != sig.hash && !tsn_pattern_is_pin(plain.hash, plain.text, plain.len));
    tsn_pattern_config_free(&config);
    tsn_buf_release(&buf);
}

static void check_masked(const char *line, const char *want)
{
    struct tsn_buf out = TSN_BUF_INIT;

    tsn_pattern_mask_secrets(NULL, line, strlen(line), 0, &out);
    assert_string_equal(tsn_buf_str(&out), want);
    tsn_buf_release(&out);
}

static void test_secrets(void **state)
{
    struct tsn_pattern_config *config = tsn_pattern_config_new();
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_error error;

    (void)state;
    check_masked("login user=bob password=hunter2 ok", "login user=bob password=<secret> ok");
    check_masked("{\"apiKey\": \"abc def\", \"n\": 1}", "{\"apiKey\": \"<secret>\", \"n\": 1}");
    check_masked("Authorization: Bearer abcdefgh12345", "Authorization: Bearer <secret>");
    check_masked("sent Bearer abcdefgh12345 along", "sent Bearer <secret> along");
    check_masked("redis://u:p%40ss@cache:6379/0 down", "redis://u:<secret>@cache:6379/0 down");
    check_masked("mail to bob.b@example.org. failed", "mail to <email>. failed");
    check_masked("key AKIAIOSFODNN7EXAMPLE used", "key <secret> used");
    check_masked("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln seen", "jwt <secret> seen");
    check_masked("id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 fine", "id 3f2504e0-4f89-11d3-9a0c-0305e82c3301 fine");
    check_masked("password:", "password:");
    check_masked("token: bearer ", "token: <secret> ");
    check_masked("nothing here \xff", "nothing here ?");
    assert_int_equal(tsn_pattern_config_secret(config, "Pin", NULL), TSN_OK);
    tsn_pattern_config_secret_kinds(config, TSN_SECRET_KEYED);
    tsn_pattern_mask_secrets(config, "pin=1234 a@b.org tail", 21, 16, &out);
    assert_string_equal(tsn_buf_str(&out), "pin=<secret> a@b"); /* not more than 16 bytes of it */
    tsn_buf_reset(&out);
    tsn_pattern_mask_secrets(NULL, "jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", 45, 10, &out);
    assert_string_equal(tsn_buf_str(&out), "jwt <secre"); /* what the end cuts is known whole */
    tsn_buf_reset(&out);
    assert_int_equal(tsn_pattern_config_secret_regex(config, "ACME-[A-Z]+(-[A-Z]+)*", NULL), TSN_OK);
    assert_int_equal(tsn_pattern_config_secret_regex(config, "x*", NULL), TSN_OK);
    assert_int_equal(tsn_pattern_config_secret_regex(config, "a(", &error), TSN_ERR_INVALID);
    assert_non_null(strstr(error.message, "a("));
    tsn_pattern_mask_secrets(config, "a ACME-AB-CD xx ACME-Q", 22, 0, &out);
    assert_string_equal(tsn_buf_str(&out), "a <secret> <secret> <secret>");
    assert_string_equal(tsn_pattern_redact(config, "nothing", 7, 0, &out).data, "nothing");
    tsn_buf_release(&out);
    tsn_pattern_config_free(&config);
}

/* A letter for each line: n starts an event, + continues it. */
static void check_join(bool strict, const char *const *lines, const char *want)
{
    struct tsn_join join = { .strict = strict };

    for (size_t i = 0; want[i]; i++)
        if (tsn_join_continues(&join, lines[i], strlen(lines[i])) != (want[i] == '+'))
            fail_msg("line %zu: %s", i, lines[i]);
}

static void test_join(void **state)
{
    static const char *const java[] = { "ERROR it broke", "java.lang.XError: y", "\tat a.B.c(D.java:1)", "Caused by: z",
                                        "\t... 3 more", "INFO next" };
    static const char *const python[] = { "ERROR it broke", "Traceback (most recent call last):", "  File \"x\", line 1",
                                          "    f()", "ValueError: bad", "INFO next" };
    static const char *const go[] = { "panic: oops", "", "goroutine 1 [running]:", "main.f(0x1)", "\t/x/y.go:3 +0x1",
                                      "created by main.g", "exit status 2", "2026/01/01 next" };
    static const char *const node[] = { "Error: bad", "    at f (/x.js:1:2)", "    at g", "listening" };
    static const char *const plain[] = { "table:", "  first row", "\tsecond row", "at last (it ends)" };
    static const char *const chain[] = { "Traceback (most recent call last):", "  File \"x\", line 1", "KeyError: 'a'", "",
                                         "During handling of the above exception, another exception occurred:", "",
                                         "Traceback (most recent call last):", "  File \"y\", line 2", "    g()", "ValueError: b",
                                         "Traceback (most recent call last):", "  File \"z\", line 3", "OSError: c" };
    static const char *const object[] = { "Error: bad", "    at f (/x.js:1:2) {", "  code: 'E',", "  path: '/x'", "}", "listening" };
    struct tsn_join join = { 0 };

    (void)state;
    check_join(false, java, "n++++n");
    check_join(false, python, "n++++n");
    check_join(false, go, "n++++++n");
    check_join(false, node, "n++n");
    check_join(true, java, "nn+++n"); /* an error class alone on its line may be an event */
    check_join(true, python, "n++++n");
    check_join(true, go, "n++++++n");
    check_join(true, plain, "nnnn");
    check_join(false, plain, "n++n");
    check_join(false, chain, "n+++++++++n++");
    check_join(true, object, "n++++n");
    for (unsigned i = 0; i < TSN_JOIN_LINES; i++)
        assert_int_equal(tsn_join_continues(&join, "  indented", 10), i > 0);
    assert_false(tsn_join_continues(&join, "  indented", 10));
}

/* What is left of a trace, its lines joined with |. */
static void check_trace(const char *text, const char *want)
{
    struct tsn_buf buf = TSN_BUF_INIT, got = TSN_BUF_INIT;
    struct tsn_text t = tsn_trace_text(text, strlen(text), &buf);

    tsn_buf_append(&got, t.data, t.len);
    for (size_t i = 0; i < got.len; i++)
        if (got.data[i] == '\n')
            got.data[i] = '|';
    assert_string_equal(tsn_buf_str(&got), want);
    tsn_buf_release(&buf);
    tsn_buf_release(&got);
}

static void test_trace(void **state)
{
    (void)state;
    check_trace("one line", "one line");
    check_trace("", "");
    check_trace("\n\n", "");
    check_trace("java.lang.XError: no route\r\n\tat a.B.c(B.java:12)\r\n\tat a.B.d(B.java:40)\r\nCaused by: java.io.IOException: closed\r\n"
                "\tat x.Y.z(Y.java:7)\r\n\t... 12 more\r\n",
                "java.lang.XError: no route|at a.B.c(B.java:12)|Caused by: java.io.IOException: closed|at x.Y.z(Y.java:7)");
    check_trace("it broke\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\n  File \"b.py\", line 2, in g\n"
                "    ^^^\nValueError: bad",
                "it broke|Traceback (most recent call last):|File \"b.py\", line 2, in g|ValueError: bad");
    check_trace("panic: oops\n\ngoroutine 1 [running]:\nmain.f(0x1)\n\t/x/y.go:3 +0x1\nmain.g(0x2)\n\t/x/y.go:9\n\ngoroutine 7 [select]:\nz.z()",
                "panic: oops|main.f(0x1)");
    check_trace("TypeError: x is not a function\n    at f (/a.js:1:2)\n    at g (/b.js:3:4) {\n  code: 'E'\n}",
                "TypeError: x is not a function|at f (/a.js:1:2)");
    check_trace("slow statement:\n  select a\n  from b", "slow statement:|select a|from b");
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_signature_shapes), cmocka_unit_test(test_signature_is_pure),
        cmocka_unit_test(test_hostile_lines),    cmocka_unit_test(test_pins_and_masks),
        cmocka_unit_test(test_states_stay_apart_names_fold), cmocka_unit_test(test_scopes_do_not_mix),
        cmocka_unit_test(test_limits),           cmocka_unit_test(test_snapshot),
        cmocka_unit_test(test_headers),          cmocka_unit_test(test_extract),
        cmocka_unit_test(test_secrets),          cmocka_unit_test(test_join),
        cmocka_unit_test(test_trace),         cmocka_unit_test(test_plain),
        cmocka_unit_test(test_pins),          cmocka_unit_test(test_word_ends),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    tsn_buf_release(&scratch);
    return failed;
}
