/*
 * Goal: RESPOND's state in Redis is whole or refused. Method: the real core against a real Redis of this test's own: takeover and
 * reload, duplicates, a fenced twin, a Redis that was wiped, rolled back, killed, that forgot its scripts, is out of memory, or
 * holds what somebody else wrote. After each, what comes back is compared with the core byte for byte.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lib_services.h"
#include "tocsin/store.h"

#include <hiredis/hiredis.h>

#define INSTANCE "store"
#define T0 INT64_C(1700000000000)

struct owner {
    struct tsn_store *store;
    struct tsn_policy policy;
    struct tsn_respond *respond;
};
static struct tsn_config config;

/* ---- a Redis of our own ------------------------------------------------------------------- */

static int start_redis(void **state)
{
    TSN_UNUSED(state);
    tsn_config_init(&config);
    config.redis.command_timeout_ms = 20000; /* a machine that builds beside the test is no failure */
    if (tsn_it_service(INSTANCE, "start", "redis") != 0)
        return -1;
    tsn_free(config.redis.url);
    config.redis.url = tsn_it_instance_address(INSTANCE, "TOCSIN_IT_REDIS");
    return config.redis.url ? 0 : -1;
}

static int stop_redis(void **state)
{
    TSN_UNUSED(state);
    tsn_config_release(&config);
    return tsn_it_service(INSTANCE, "stop", "redis");
}

/* One command by the plain client, for what the store itself would never do. */
static void by_hand(const char *command)
{
    struct tsn_buf line = TSN_BUF_INIT;
    int port = 0;

    assert_int_equal(sscanf(config.redis.url, "redis://127.0.0.1:%d", &port), 1);
    tsn_buf_printf(&line, "redis-cli -p %d %s >/dev/null", port, command);
    assert_int_equal(system(tsn_buf_str(&line)), 0);
    tsn_buf_release(&line);
}

/* Each test begins with an empty Redis. */
static int fresh(void **state)
{
    TSN_UNUSED(state);
    by_hand("flushall");
    return 0;
}

/* ---- an owner ----------------------------------------------------------------------------- */

static void owner_init(struct owner *o)
{
    struct tsn_error error = { 0 };

    memset(o, 0, sizeof *o);
    tsn_policy_init_default(&o->policy);
    o->store = tsn_store_new(&config, &error);
    assert_non_null(o->store);
    assert_int_equal(tsn_store_connect(o->store, &error), TSN_OK);
}

static enum tsn_err owner_take(struct owner *o, const struct tsn_respond_mark *committed, struct tsn_error *error)
{
    tsn_respond_free(&o->respond);
    o->respond = tsn_respond_new(&o->policy, NULL);
    return tsn_store_takeover(o->store, committed, o->respond, error);
}

static bool no_more(void *arg, struct tsn_respond_incident *in)
{
    TSN_UNUSED(arg);
    TSN_UNUSED(in);
    return false;
}

static void owner_begin(struct owner *o)
{
    struct tsn_error error = { 0 };

    owner_init(o);
    assert_int_equal(owner_take(o, NULL, &error), TSN_ERR_NOT_FOUND);
    assert_int_equal(tsn_store_rebuild(o->store, NULL, no_more, NULL, &error), TSN_OK);
    assert_int_equal(owner_take(o, NULL, &error), TSN_OK);
}

static void owner_release(struct owner *o)
{
    tsn_respond_free(&o->respond);
    tsn_store_free(&o->store);
    tsn_policy_release(&o->policy);
}

/* Puts an alert of `service` through core and store. */
static enum tsn_err fire(struct owner *o, int64_t offset, const char *service, int64_t at, struct tsn_error *error)
{
    struct tsn_transition t = { .format = 1, .was = TSN_ALERT_PENDING, .state = TSN_ALERT_FIRING, .step_ms = at,
                                .active_at_ms = at, .fired_at_ms = at, .keep_firing_since_ms = TSN_TIME_NONE };
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_store_input input = { .kind = TSN_STORE_ALERT, .before = tsn_respond_position(o->respond) };
    enum tsn_err err;

    t.labels = tsn_labels_of("alertname", "ServiceDown", "service", service, "severity", "critical", NULL);
    t.annotations = tsn_labels_empty();
    tsn_u128_hex(t.labels->id, t.alert_id);
    tsn_respond_transition(o->respond, offset, at, &t, &effects);
    input.after = tsn_respond_position(o->respond);
    err = tsn_store_apply(o->store, &input, &effects, error);
    tsn_effects_release(&effects);
    tsn_transition_release(&t);
    return err;
}

static void fire_ok(struct owner *o, int64_t offset, const char *service, int64_t at)
{
    struct tsn_error error = { 0 };

    if (fire(o, offset, service, at, &error) != TSN_OK)
        fail_msg("%s", error.message);
}

/* Everything a core holds, as text. Caller frees. */
static char *dump(const struct tsn_respond *r)
{
    struct tsn_buf out = TSN_BUF_INIT;
    size_t n;
    const struct tsn_respond_incident **all = tsn_respond_list(r, &n);
    struct tsn_respond_position p = tsn_respond_position(r);

    tsn_buf_printf(&out, "%lld %lld %lld\n", (long long)p.alerts, (long long)p.commands, (long long)p.clock_ms);
    for (size_t i = 0; i < n; i++) {
        tsn_respond_incident_encode(all[i], &out);
        tsn_buf_putc(&out, '\n');
    }
    tsn_free((void *)all);
    return tsn_buf_take(&out, NULL);
}

/* What Redis holds is what the core holds. */
static void assert_stored(struct owner *o)
{
    struct tsn_error error = { 0 };
    char *was = dump(o->respond), *is;

    if (owner_take(o, NULL, &error) != TSN_OK)
        fail_msg("%s", error.message);
    is = dump(o->respond);
    assert_string_equal(was, is);
    tsn_free(was);
    tsn_free(is);
}

/* ---- tests -------------------------------------------------------------------------------- */

static bool count_entry(void *arg, int64_t cursor, const struct tsn_outbox_entry *e)
{
    struct tsn_buf *out = arg;

    tsn_buf_printf(out, "%lld:%s%s ", (long long)cursor,
                   e->kind == TSN_OUTBOX_EVENT ? tsn_incident_event_type_name(e->type)
                   : e->kind == TSN_OUTBOX_SNAPSHOT ? "snapshot" : "tombstone", e->last ? "!" : "");
    return true;
}

static void assert_outbox(struct owner *o, int64_t after, const char *want)
{
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_error error = { 0 };

    assert_int_equal(tsn_store_outbox(o->store, after, 100, count_entry, &out, &error), TSN_OK);
    assert_string_equal(tsn_buf_str(&out), want);
    tsn_buf_release(&out);
}

static void test_apply_and_reload(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    fire_ok(&o, 1, "billing", T0 + 1000);
    assert_stored(&o);
    assert_outbox(&o, 0, "1:opened 2:snapshot! 3:opened 4:snapshot! ");
    assert_int_equal(tsn_store_mark(o.store).cursor, 4);
    assert_int_equal(tsn_store_trim(o.store, 2, &error), TSN_OK);
    assert_int_equal(tsn_store_trim(o.store, 1, &error), TSN_OK); /* again: nothing */
    assert_outbox(&o, 2, "3:opened 4:snapshot! ");
    assert_int_equal(tsn_store_trim(o.store, 9, &error), TSN_ERR_NOT_FOUND); /* beyond what there is */
    assert_stored(&o);
    assert_outbox(&o, 2, "3:opened 4:snapshot! ");
    owner_release(&o);
}

static void test_duplicate_is_skipped(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_effects none = { NULL, 0, 0 };
    struct tsn_store_input input = { .kind = TSN_STORE_ALERT };

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 5, "hook-receiver", T0);
    input.before = input.after = tsn_respond_position(o.respond);
    assert_int_equal(tsn_store_apply(o.store, &input, &none, &error), TSN_ERR_CONFLICT);
    input.after.alerts = 4;
    assert_int_equal(tsn_store_apply(o.store, &input, &none, &error), TSN_ERR_CONFLICT);
    assert_stored(&o);
    assert_outbox(&o, 0, "1:opened 2:snapshot! ");
    owner_release(&o);
}

static void test_twin_is_fenced(void **state)
{
    struct owner a, b;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&a);
    fire_ok(&a, 0, "hook-receiver", T0);
    owner_init(&b);
    assert_int_equal(owner_take(&b, NULL, &error), TSN_OK);
    assert_int_equal(tsn_store_mark(b.store).generation, tsn_store_mark(a.store).generation + 1);
    assert_int_equal(fire(&a, 1, "billing", T0 + 1000, &error), TSN_ERR_FENCED);
    assert_int_equal(tsn_store_trim(a.store, 1, &error), TSN_ERR_FENCED);
    fire_ok(&b, 1, "search", T0 + 2000);
    assert_stored(&b);
    owner_release(&a);
    owner_release(&b);
}

static void test_wiped(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_respond_mark committed;

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    committed = tsn_store_mark(o.store);
    by_hand("flushall");
    assert_int_equal(fire(&o, 1, "billing", T0 + 1, &error), TSN_ERR_NOT_FOUND);
    assert_int_equal(owner_take(&o, &committed, &error), TSN_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "wiped"));
    assert_int_equal(tsn_store_rebuild(o.store, &committed, no_more, NULL, &error), TSN_OK);
    /* The old mark names the data set that is gone. */
    assert_int_equal(owner_take(&o, &committed, &error), TSN_ERR_NOT_FOUND);
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    assert_true(tsn_store_mark(o.store).generation > committed.generation);
    assert_int_equal(tsn_store_mark(o.store).cursor, committed.cursor);
    assert_int_equal(tsn_respond_position(o.respond).alerts, 0);
    owner_release(&o);
}

struct give {
    const struct tsn_respond_incident **all;
    size_t at, n;
};

static bool give_next(void *arg, struct tsn_respond_incident *in)
{
    struct give *g = arg;

    if (g->at == g->n)
        return false;
    tsn_respond_incident_copy(in, g->all[g->at++]);
    return true;
}

static void test_rebuild_gives_the_same(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_respond *held;
    struct tsn_respond_mark mark;
    struct give give = { 0 };
    char *was, *is;

    TSN_UNUSED(state);
    owner_begin(&o);
    for (int i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof name, "service-%d", i);
        fire_ok(&o, i, name, T0 + i);
    }
    mark = tsn_store_mark(o.store);
    held = o.respond;
    o.respond = NULL;
    was = dump(held);
    give.all = tsn_respond_list(held, &give.n);
    assert_int_equal(give.n, 300);
    by_hand("set tocsin:mine 1");
    by_hand("set tocsin:0123456789abcdef0123456789abcdef:incidents remains");
    assert_int_equal(tsn_store_rebuild(o.store, &mark, give_next, &give, &error), TSN_OK);
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    is = dump(o.respond);
    assert_string_equal(was, is);
    assert_int_equal(tsn_store_trimmed(o.store), mark.cursor);
    by_hand("--raw exists tocsin:mine | grep -q 1 && test -n x");
    by_hand("--raw exists tocsin:0123456789abcdef0123456789abcdef:incidents | grep -q 0 && test -n x");
    tsn_free((void *)give.all);
    tsn_respond_free(&held);
    tsn_free(was);
    tsn_free(is);
    owner_release(&o);
}

static void test_rolled_back(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_respond_mark committed;
    char command[256];

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    fire_ok(&o, 1, "billing", T0 + 1);
    committed = tsn_store_mark(o.store);
    /* As a restored copy would be: the last input is not in it. */
    snprintf(command, sizeof command, "hset tocsin:meta cursor 2 alerts 0");
    by_hand(command);
    snprintf(command, sizeof command, "ltrim tocsin:%s:outbox 0 1", committed.run);
    by_hand(command);
    assert_int_equal(fire(&o, 2, "search", T0 + 2, &error), TSN_ERR_NOT_FOUND);
    assert_int_equal(owner_take(&o, &committed, &error), TSN_ERR_NOT_FOUND);
    assert_non_null(strstr(error.message, "behind"));
    committed.cursor = 2; /* had that been the last published, it could go on from there */
    assert_int_equal(owner_take(&o, &committed, &error), TSN_OK);
    assert_int_equal(tsn_respond_position(o.respond).alerts, 0);
    owner_release(&o);
}

static void test_killed_and_back(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    by_hand("bgrewriteaof");
    tsn_it_sleep_ms(1200); /* appendfsync everysec */
    assert_int_equal(tsn_it_service(INSTANCE, "kill", "redis"), 0);
    assert_int_equal(fire(&o, 1, "billing", T0 + 1, &error), TSN_ERR_UNREACHABLE);
    assert_true(error.retriable);
    assert_false(tsn_store_connected(o.store));
    assert_int_equal(tsn_store_connect(o.store, &error), TSN_ERR_UNREACHABLE);
    assert_int_equal(tsn_it_service(INSTANCE, "restart", "redis"), 0);
    assert_int_equal(tsn_store_connect(o.store, &error), TSN_OK);
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    assert_int_equal(tsn_respond_position(o.respond).alerts, 0);
    fire_ok(&o, 1, "billing", T0 + 1);
    assert_stored(&o);
    owner_release(&o);
}

static void test_hangs(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&o);
    owner_release(&o);
    config.redis.command_timeout_ms = 1000;
    owner_init(&o);
    config.redis.command_timeout_ms = 20000;
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    assert_int_equal(tsn_it_service(INSTANCE, "pause", "redis"), 0);
    assert_int_equal(fire(&o, 0, "billing", T0, &error), TSN_ERR_TIMEOUT);
    assert_false(tsn_store_connected(o.store));
    assert_int_equal(tsn_it_service(INSTANCE, "resume", "redis"), 0);
    /* The script was in the socket: it is done by now, or never. Whichever, the store says so. */
    assert_int_equal(tsn_store_connect(o.store, &error), TSN_OK);
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    if (tsn_respond_position(o.respond).alerts < 0)
        fire_ok(&o, 0, "billing", T0);
    assert_stored(&o);
    assert_outbox(&o, 0, "1:opened 2:snapshot! ");
    owner_release(&o);
}

static void test_script_flush(void **state)
{
    struct owner o;

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    by_hand("script flush");
    fire_ok(&o, 1, "billing", T0 + 1);
    assert_stored(&o);
    owner_release(&o);
}

static void test_out_of_memory(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    by_hand("config set maxmemory 1");
    assert_int_equal(fire(&o, 1, "billing", T0 + 1, &error), TSN_ERR_LIMIT);
    assert_true(error.retriable);
    by_hand("config set maxmemory 0");
    assert_int_equal(owner_take(&o, NULL, &error), TSN_OK);
    assert_int_equal(tsn_respond_position(o.respond).alerts, 0);
    fire_ok(&o, 1, "billing", T0 + 1);
    assert_stored(&o);
    owner_release(&o);
}

static void test_damage_is_seen(void **state)
{
    static const char *const damages[] = {
        "set tocsin:meta x", "hset tocsin:meta cursor x", "hset tocsin:meta run x", "hdel tocsin:meta clock",
        "lpop tocsin:%s:outbox", "del tocsin:%s:outbox", "zadd tocsin:%s:incidents 1 inc-ffffffffffffffff",
        "eval \"for _,k in ipairs(redis.call('keys','*incident:*')) do redis.call('hset',k,'record','{}') end\" 0",
        "eval \"for _,k in ipairs(redis.call('keys','*incident:*')) do redis.call('del',k) end\" 0",
        "eval \"for _,k in ipairs(redis.call('keys','*incidents')) do redis.call('set',k,'x') end\" 0",
    };
    struct owner o;

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(damages); i++) {
        struct tsn_error error = { 0 };
        struct tsn_buf command = TSN_BUF_INIT;
        const char *run = strstr(damages[i], "%s");

        by_hand("flushall");
        owner_begin(&o);
        fire_ok(&o, 0, "hook-receiver", T0);
        tsn_buf_append(&command, damages[i], run ? (size_t)(run - damages[i]) : strlen(damages[i]));
        tsn_buf_printf(&command, "%s%s", run ? tsn_store_mark(o.store).run : "", run ? run + 2 : "");
        if (strncmp(damages[i], "set", 3) == 0)
            by_hand("del tocsin:meta");
        by_hand(tsn_buf_str(&command));
        if (owner_take(&o, NULL, &error) != TSN_ERR_NOT_FOUND)
            fail_msg("'%s' was not seen: %s", damages[i], error.message);
        if (tsn_store_rebuild(o.store, NULL, no_more, NULL, &error) != TSN_OK || owner_take(&o, NULL, &error) != TSN_OK)
            fail_msg("'%s' cannot be rebuilt: %s", damages[i], error.message);
        tsn_buf_release(&command);
        owner_release(&o);
    }
}

static void test_newer_format_stops(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    owner_begin(&o);
    by_hand("hset tocsin:meta format 2");
    assert_int_equal(owner_take(&o, NULL, &error), TSN_ERR_UNSUPPORTED);
    assert_non_null(strstr(error.message, "upgrade"));
    owner_release(&o);
}

static bool tell(void *arg, const struct tsn_page *page)
{
    int *left = arg;

    assert_true(strncmp(page->dedup_key, "inc-", 4) == 0);
    return (*left)-- > 0;
}

static void test_pages_and_answers(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_effects effects = { NULL, 0, 0 };
    struct tsn_store_input input = { .kind = TSN_STORE_COMMAND };
    struct tsn_command c = { .format = 1, .command_id = tsn_strdup("c-1"), .kind = TSN_CMD_ACK,
                             .incident_id = tsn_strdup("inc-0"), .actor = tsn_strdup("ada"), .reason = tsn_strdup("") };
    struct tsn_respond_answer answer;
    size_t told;
    int left = 1;

    TSN_UNUSED(state);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    fire_ok(&o, 1, "billing", T0);
    assert_int_equal(tsn_store_pages(o.store, 10, tell, &left, &told, &error), TSN_OK);
    assert_int_equal(told, 1);
    left = 100;
    assert_int_equal(tsn_store_pages(o.store, 10, tell, &left, &told, &error), TSN_OK);
    assert_true(told >= 1);
    assert_int_equal(tsn_store_pages(o.store, 10, tell, &left, &told, &error), TSN_OK);
    assert_int_equal(told, 0);
    assert_int_equal(tsn_store_answer(o.store, "c-1", &answer, &error), TSN_ERR_NOT_FOUND);
    input.before = tsn_respond_position(o.respond);
    tsn_respond_command(o.respond, 0, T0 + 5, &c, &effects);
    input.after = tsn_respond_position(o.respond);
    assert_int_equal(tsn_store_apply(o.store, &input, &effects, &error), TSN_OK);
    assert_int_equal(tsn_store_answer(o.store, "c-1", &answer, &error), TSN_OK);
    assert_int_equal(answer.code, TSN_ERR_NOT_FOUND);
    tsn_respond_answer_release(&answer);
    tsn_effects_release(&effects);
    tsn_command_release(&c);
    assert_stored(&o);
    owner_release(&o);
}

static bool count_one(void *arg, const struct tsn_respond_incident *in)
{
    TSN_UNUSED(in);
    ++*(size_t *)arg;
    return true;
}

static void test_readers(void **state)
{
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_respond_incident in;
    size_t n = 0;

    TSN_UNUSED(state);
    owner_init(&o);
    assert_int_equal(tsn_store_list(o.store, count_one, &n, &error), TSN_ERR_NOT_FOUND);
    owner_release(&o);
    owner_begin(&o);
    fire_ok(&o, 0, "hook-receiver", T0);
    fire_ok(&o, 1, "billing", T0);
    assert_int_equal(tsn_store_list(o.store, count_one, &n, &error), TSN_OK);
    assert_int_equal(n, 2);
    assert_int_equal(tsn_store_incident(o.store, "inc-none", &in, &error), TSN_ERR_NOT_FOUND);
    owner_release(&o);
}

static void test_login_and_urls(void **state)
{
    static const char *const bad[] = { "http://x", "redis://", "redis://:6379", "redis://h:0", "redis://h:x", "redis://h/x",
                                       "redis://h/-1", "redis://u%4@h", "redis://u%00@h", "redis://[::1", "redis://[::1]x" };
    char *url = config.redis.url, *password = config.redis.password;
    struct tsn_error error = { 0 };
    struct tsn_store *store;
    char wrong[] = "wrong";

    TSN_UNUSED(state);
    for (size_t i = 0; i < TSN_ARRAY_LEN(bad); i++) {
        config.redis.url = (char *)(uintptr_t)bad[i];
        store = tsn_store_new(&config, &error);
        if (store)
            fail_msg("%s was taken", bad[i]);
        assert_int_equal(error.code, TSN_ERR_INVALID);
    }
    config.redis.url = url;
    config.redis.password = wrong;
    store = tsn_store_new(&config, &error);
    config.redis.password = password;
    assert_non_null(store);
    assert_int_equal(tsn_store_connect(store, &error), TSN_ERR_INVALID);
    assert_null(strstr(error.message, "wrong\""));
    tsn_store_free(&store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_apply_and_reload, fresh), cmocka_unit_test_setup(test_duplicate_is_skipped, fresh),
        cmocka_unit_test_setup(test_twin_is_fenced, fresh), cmocka_unit_test_setup(test_wiped, fresh),
        cmocka_unit_test_setup(test_rebuild_gives_the_same, fresh), cmocka_unit_test_setup(test_rolled_back, fresh),
        cmocka_unit_test_setup(test_killed_and_back, fresh), cmocka_unit_test_setup(test_hangs, fresh),
        cmocka_unit_test_setup(test_script_flush, fresh), cmocka_unit_test_setup(test_out_of_memory, fresh),
        cmocka_unit_test_setup(test_damage_is_seen, fresh), cmocka_unit_test_setup(test_newer_format_stops, fresh),
        cmocka_unit_test_setup(test_pages_and_answers, fresh), cmocka_unit_test_setup(test_readers, fresh),
        cmocka_unit_test_setup(test_login_and_urls, fresh),
    };

    return cmocka_run_group_tests(tests, start_redis, stop_redis);
}
