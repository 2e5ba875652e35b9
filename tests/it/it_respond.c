/*
 * Goal: RESPOND tells each change of an incident exactly once, whatever happens to the owner or to Redis.
 * Method: transitions and commands into a real Kafka, owners as processes of their own (this program, run with --owner) over a Redis of this
 * test's own; owners are killed, Redis is wiped, killed, rolled back. What `incidents` holds is compared with what the bare core
 * gives for the same inputs, event by event, in order. Deadlines are minutes away, so no timer plays in.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "app/respond_stage.h"
#include "lib_respond.h"
#include "lib_services.h"
#include "tocsin/store.h"

#include <pthread.h>

#define INSTANCE "respond"
#define T0 INT64_C(1700000000000)

extern char **environ;
static char *redis_url;
static const char *self;

/* ---- owners -------------------------------------------------------------------------------- */

struct owner {
    struct tsn_respond_stage *stage;
    pthread_t thread;
    struct tsn_buf told; /* dedup keys, one a line */
    pthread_mutex_t lock;
    _Atomic int64_t clock_ms; /* for a test that has its own clock */
};

static bool note_page(void *arg, const struct tsn_page *page)
{
    struct owner *o = arg;

    pthread_mutex_lock(&o->lock);
    tsn_buf_printf(&o->told, "%s\n", page->dedup_key);
    pthread_mutex_unlock(&o->lock);
    return true;
}

static void *run_owner(void *arg)
{
    struct owner *o = arg;
    struct tsn_error error = { 0 };

    if (tsn_respond_stage_run(o->stage, &error))
        fprintf(stderr, "owner: %s\n", error.message);
    return NULL;
}

static int64_t own_clock(void *arg)
{
    return ((struct owner *)arg)->clock_ms;
}

/* clock_ms 0: Redis TIME. policy NULL: the built-in one. */
static void owner_start_under(struct owner *o, const struct tsn_config *config, const struct tsn_policy *policy, int64_t clock_ms)
{
    struct tsn_respond_stage_options options = { .config = config, .policy = policy, .tell = note_page, .tell_arg = o,
                                                 .clock = clock_ms ? own_clock : NULL, .clock_arg = o };
    struct tsn_error error = { 0 };

    memset(o, 0, sizeof *o);
    o->clock_ms = clock_ms;
    pthread_mutex_init(&o->lock, NULL);
    o->stage = tsn_respond_stage_new(&options, &error);
    assert_non_null(o->stage);
    assert_int_equal(pthread_create(&o->thread, NULL, run_owner, o), 0);
}

static void owner_start(struct owner *o, const struct tsn_config *config)
{
    owner_start_under(o, config, NULL, 0);
}

static void owner_stop(struct owner *o)
{
    tsn_respond_stage_stop(o->stage);
    pthread_join(o->thread, NULL);
    tsn_respond_stage_free(&o->stage);
    tsn_buf_release(&o->told);
    pthread_mutex_destroy(&o->lock);
}

/* This program with --owner: runs until it is killed. */
_Noreturn static void owner_main(char **argv)
{
    struct world w;
    struct owner o;

    world_init(&w, argv[2], argv[3], (int)strtol(argv[4], NULL, 10), "shadow");
    owner_start(&o, &w.config);
    for (;;)
        pause();
}

static pid_t spawn_owner(struct world *w, int slot)
{
    char number[16], option[] = "--owner";
    char *argv[] = { (char *)(uintptr_t)self, option, w->name, redis_url, number, NULL };
    pid_t pid;

    snprintf(number, sizeof number, "%d", slot);
    assert_int_equal(posix_spawn(&pid, self, NULL, NULL, argv, environ), 0);
    return pid;
}

static void kill_owner(pid_t pid)
{
    kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void by_hand(const char *command)
{
    struct tsn_buf line = TSN_BUF_INIT;
    int port = 0;

    assert_int_equal(sscanf(redis_url, "redis://127.0.0.1:%d", &port), 1);
    tsn_buf_printf(&line, "redis-cli -p %d %s >/dev/null", port, command);
    assert_int_equal(system(tsn_buf_str(&line)), 0);
    tsn_buf_release(&line);
}

static void wait_for(struct owner *o, bool (*holds)(const struct tsn_respond_stage_stats *stats), const char *what)
{
    int64_t until = tsn_it_now_ms() + 90000;
    struct tsn_respond_stage_stats stats;

    for (;;) {
        tsn_respond_stage_get_stats(o->stage, &stats);
        if (holds(&stats))
            return;
        if (tsn_it_now_ms() > until)
            fail_msg("waited 90 s for: %s", what);
        tsn_it_sleep_ms(20);
    }
}

static bool is_up(const struct tsn_respond_stage_stats *s) { return s->owner && s->redis_up; }
static bool is_down(const struct tsn_respond_stage_stats *s) { return s->owner && !s->redis_up; }

/* ---- tests --------------------------------------------------------------------------------- */

/* Step i of a fixed story over a few services: they fail, get worse, recover, fail again. */
static void story(struct world *w, int i)
{
    static const char *const services[] = { "hook-receiver", "billing", "search", "mail", "index" };
    const char *service = services[i % 5];
    int round = i / 5;
    int64_t fired = T0 + (round / 4) * 1000;

    switch (round % 4) {
    case 0: world_alert(w, "HookErrors", service, "warning", true, fired); break;
    case 1: world_alert(w, "Latency", service, "critical", true, fired); break;
    case 2: world_alert(w, "HookErrors", service, "warning", false, fired); break;
    default: world_alert(w, "Latency", service, "critical", false, fired); break;
    }
}

/* Parts [from, to) of the story, and all that they send. */
static void told(struct world *w, int from, int to)
{
    for (int i = from; i < to; i++)
        story(w, i);
    world_flush(w);
}

/* Waits until Redis has applied alerts up to `offset`, looking a thousand times a second. */
static void wait_applied(struct tsn_store *store, int64_t offset)
{
    int64_t until = tsn_it_now_ms() + 90000;
    struct tsn_respond_mark mark = { .position = { -1, -1, 0 } };
    struct tsn_error error = { 0 };

    while (tsn_store_look(store, &mark, &error) == TSN_ERR_NOT_FOUND || mark.position.alerts < offset) {
        if (tsn_it_now_ms() > until)
            fail_msg("90 s without alert %lld applied: %s", (long long)offset, error.message);
        tsn_it_sleep_ms(1);
    }
}

/* All inputs are there from the beginning; each owner is killed while it works through them: between scripts, within a transaction,
 * between commit and trim. */
static void test_events_once_across_kills(void **state)
{
    enum { ALERTS = 1500, ROUNDS = 5 };
    struct world w;
    struct tsn_error error = { 0 };
    struct tsn_store *store;
    uint64_t seed = 1;
    int64_t target = -1;
    pid_t owner;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    store = tsn_store_new(&w.config, &error);
    assert_int_equal(tsn_store_connect(store, &error), TSN_OK);
    told(&w, 0, ALERTS);
    for (int round = 0; round < ROUNDS; round++) {
        owner = spawn_owner(&w, 0);
        seed = tsn_hash64(&seed, sizeof seed);
        target += 20 + (int64_t)(seed % 250);
        wait_applied(store, target);
        tsn_it_sleep_ms((int)(seed / 1000 % 40));
        kill_owner(owner);
    }
    owner = spawn_owner(&w, 0);
    world_assert_events(&w);
    tsn_it_sleep_ms(500); /* a second telling would come now */
    world_assert_events(&w);
    kill_owner(owner);
    tsn_store_free(&store);
    world_release(&w);
}

static void test_redis_wiped(void **state)
{
    struct world w;
    struct owner o;
    struct tsn_respond_stage_stats stats;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    owner_start(&o, &w.config);
    told(&w, 0, 7);
    world_assert_events(&w);
    by_hand("flushall");
    told(&w, 7, 20);
    world_assert_events(&w);
    tsn_respond_stage_get_stats(o.stage, &stats);
    assert_int_equal(stats.rebuilds, 2); /* the first made the data set */
    owner_stop(&o);
    /* Wiped while nobody looked, and the group's offsets with it: the record of the position tells. */
    by_hand("flushall");
    told(&w, 20, 30);
    tsn_free(w.config.worker.group_prefix);
    w.config.worker.group_prefix = tsn_it_name("group");
    owner_start(&o, &w.config);
    world_assert_events(&w);
    owner_stop(&o);
    world_release(&w);
}

static void test_redis_away(void **state)
{
    struct world w;
    struct owner o;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    owner_start(&o, &w.config);
    told(&w, 0, 7);
    world_assert_events(&w);
    tsn_it_sleep_ms(1200); /* appendfsync everysec */
    assert_int_equal(tsn_it_service(INSTANCE, "kill", "redis"), 0);
    told(&w, 7, 20);
    wait_for(&o, is_down, "the owner sees that Redis is away");
    assert_int_equal(tsn_it_service(INSTANCE, "restart", "redis"), 0);
    world_assert_events(&w);
    owner_stop(&o);
    world_release(&w);
}

/* A copy of every key, in another database. */
static void keep_copy(void)
{
    by_hand("eval \"redis.call('select', 9) redis.call('flushdb') redis.call('select', 0) "
            "for _, k in ipairs(redis.call('keys', '*')) do redis.call('copy', k, k, 'DB', 9) end\" 0");
}

/* Back to that copy in one script, as a restored server or a replica that was behind would be. */
static void roll_back(void)
{
    by_hand("eval \"redis.call('flushdb') redis.call('select', 9) "
            "for _, k in ipairs(redis.call('keys', '*')) do redis.call('copy', k, k, 'DB', 0) end\" 0");
}

static void test_redis_rolled_back(void **state)
{
    struct world w;
    struct owner o;
    struct tsn_respond_stage_stats stats;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    owner_start(&o, &w.config);
    told(&w, 0, 7);
    world_assert_events(&w);
    keep_copy();
    told(&w, 7, 20);
    world_assert_events(&w);
    roll_back();
    told(&w, 20, 30);
    world_assert_events(&w);
    tsn_respond_stage_get_stats(o.stage, &stats);
    assert_int_equal(stats.rebuilds, 2); /* the first made the data set */
    owner_stop(&o);
    /* Again, while nobody looks. */
    roll_back();
    told(&w, 30, 40);
    owner_start(&o, &w.config);
    world_assert_events(&w);
    owner_stop(&o);
    world_release(&w);
}

static void test_redis_full(void **state)
{
    struct world w;
    struct owner o;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    owner_start(&o, &w.config);
    told(&w, 0, 7);
    world_assert_events(&w);
    by_hand("config set maxmemory 1");
    told(&w, 7, 20);
    wait_for(&o, is_down, "the owner sees that Redis takes nothing");
    by_hand("config set maxmemory 0");
    world_assert_events(&w);
    owner_stop(&o);
    world_release(&w);
}

static void test_command_is_answered(void **state)
{
    struct world w;
    struct owner o;
    struct tsn_error error = { 0 };
    struct tsn_store *store;
    struct tsn_respond_answer answer = { 0 };
    char id[40];
    int64_t until = tsn_it_now_ms() + 90000;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    owner_start(&o, &w.config);
    story(&w, 0);
    world_flush(&w);
    world_assert_events(&w);
    snprintf(id, sizeof id, "%.20s", tsn_buf_str(&w.expected));
    world_command(&w, "c-1", TSN_CMD_ACK, id, true);
    world_command(&w, "c-1", TSN_CMD_ACK, id, true); /* the same again */
    world_command(&w, "c-2", TSN_CMD_NOTE, id, true);
    world_command(&w, "c-3", TSN_CMD_ACK, "inc-none", true);
    world_flush(&w);
    world_assert_events(&w);
    store = tsn_store_new(&w.config, &error);
    assert_int_equal(tsn_store_connect(store, &error), TSN_OK);
    while (tsn_store_answer(store, "c-3", &answer, &error) == TSN_ERR_NOT_FOUND && tsn_it_now_ms() < until)
        tsn_it_sleep_ms(20);
    assert_int_equal(answer.code, TSN_ERR_NOT_FOUND);
    tsn_respond_answer_release(&answer);
    assert_int_equal(tsn_store_answer(store, "c-2", &answer, &error), TSN_OK);
    assert_int_equal(answer.code, TSN_OK);
    assert_int_equal(answer.version, 3);
    tsn_respond_answer_release(&answer);
    tsn_store_free(&store);
    owner_stop(&o);
    world_release(&w);
}

static size_t count_text(struct owner *o, const char *text)
{
    size_t n = 0;

    pthread_mutex_lock(&o->lock);
    for (const char *at = tsn_buf_str(&o->told); (at = strstr(at, text)) != NULL; at += strlen(text))
        n++;
    pthread_mutex_unlock(&o->lock);
    return n;
}

static bool paged_directly(const struct tsn_respond_stage_stats *s) { return s->direct_pages > 0; }

static void test_direct_path(void **state)
{
    struct world w;
    struct owner o;
    char key[64];

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "live");
    w.config.incidents.format = TSN_OUTPUT_AVRO;
    owner_start(&o, &w.config);
    wait_for(&o, is_up, "ownership");
    assert_int_equal(tsn_it_service(INSTANCE, "kill", "redis"), 0);
    world_alert(&w, "ServiceDown", "hook-receiver", "critical", true, T0);
    world_alert(&w, "Noise", "hook-receiver", "info", true, T0);
    world_alert(&w, "Watchdog", "watchdog", "none", true, T0);
    world_flush(&w);
    wait_for(&o, paged_directly, "a page on the direct path");
    snprintf(key, sizeof key, "%.20s:L1", tsn_buf_str(&w.expected));
    assert_int_equal(count_text(&o, key), 1);
    assert_int_equal(world_count_keys(&w, w.config.topics.respond, "direct:inc-"), 1);
    assert_int_equal(tsn_it_service(INSTANCE, "restart", "redis"), 0);
    world_assert_events(&w);
    world_alert(&w, "ServiceDown", "billing", "critical", true, T0); /* pages by the usual way, after the others */
    world_flush(&w);
    world_assert_events(&w);
    for (int i = 0; i < 100 && count_text(&o, "\n") < 2; i++)
        tsn_it_sleep_ms(50);
    assert_int_equal(count_text(&o, key), 1);
    assert_int_equal(count_text(&o, "\n"), 2);
    owner_stop(&o);
    world_release(&w);
}

/* A worker that starts while Redis is away pages under the name that the group's incident had before: topic `respond` says it. */
static void test_direct_path_after_restart(void **state)
{
    struct world w;
    struct owner before, after;
    char key[64];

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "live");
    owner_start(&before, &w.config);
    world_alert(&w, "Slow", "hook-receiver", "warning", true, T0); /* opens and names it; nobody is woken */
    world_flush(&w);
    world_assert_events(&w);
    snprintf(key, sizeof key, "%.20s:L1", tsn_buf_str(&w.expected));
    owner_stop(&before);
    assert_int_equal(tsn_it_service(INSTANCE, "kill", "redis"), 0);
    owner_start(&after, &w.config);
    world_alert(&w, "ServiceDown", "hook-receiver", "critical", true, T0 + 1000);
    world_flush(&w);
    wait_for(&after, paged_directly, "a page on the direct path");
    assert_int_equal(count_text(&after, key), 1);
    assert_int_equal(tsn_it_service(INSTANCE, "restart", "redis"), 0);
    world_assert_events(&w);
    tsn_it_sleep_ms(1500);
    assert_int_equal(count_text(&after, key), 1);
    owner_stop(&after);
    world_release(&w);
}

static void test_standby_takes_over(void **state)
{
    struct world w;
    pid_t first, second;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    first = spawn_owner(&w, 0);
    told(&w, 0, 10);
    world_assert_events(&w);
    second = spawn_owner(&w, 1);
    tsn_it_sleep_ms(1500);
    told(&w, 10, 20);
    world_assert_events(&w);
    kill_owner(first);
    told(&w, 20, 30);
    world_assert_events(&w);
    kill_owner(second);
    world_release(&w);
}

/* Frozen for longer than the session timeout, then awake again beside the one who took over: fenced, it adds nothing. */
static void test_frozen_owner_is_fenced(void **state)
{
    struct world w;
    pid_t first, second;

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    first = spawn_owner(&w, 0);
    told(&w, 0, 10);
    world_assert_events(&w);
    second = spawn_owner(&w, 1);
    tsn_it_sleep_ms(1500);
    kill(first, SIGSTOP);
    kill(second, SIGSTOP); /* whoever owns is frozen with inputs on their way */
    told(&w, 10, 40);
    kill(second, SIGCONT);
    world_assert_events(&w);
    kill(first, SIGCONT);
    told(&w, 40, 80);
    world_assert_events(&w);
    tsn_it_sleep_ms(1500);
    world_assert_events(&w);
    kill_owner(first);
    kill_owner(second);
    world_release(&w);
}

/* The events as "type@ms after `from_ms` ", in order. Caller frees. */
static char *times_of(struct world *w, int64_t from_ms)
{
    struct tsn_error error = { 0 };
    struct tsn_reader *r = tsn_reader_new(&w->config, w->config.topics.incidents, 0, TSN_OFFSET_BEGINNING, false, &error);
    struct tsn_buf out = TSN_BUF_INIT;
    struct tsn_message m;

    assert_non_null(r);
    while (tsn_reader_next(r, 15000, &m, &error) == TSN_OK) {
        struct tsn_incident_event e;

        assert_int_equal(tsn_codec_incident_event_decode(m.value, m.value_len, TSN_FORM_JSON, &e, &error), TSN_OK);
        tsn_buf_printf(&out, "%s@%lld ", tsn_incident_event_type_name(e.type), (long long)(e.event_time_ms - from_ms));
        tsn_incident_event_release(&e);
    }
    tsn_reader_free(&r);
    return tsn_buf_take(&out, NULL);
}

/* Waits until the events are exactly these. */
static void assert_times(struct world *w, const char *want)
{
    int64_t until = tsn_it_now_ms() + 90000;
    char *got = times_of(w, T0);

    while (strcmp(got, want) != 0 && tsn_it_now_ms() < until) {
        tsn_free(got);
        tsn_it_sleep_ms(100);
        got = times_of(w, T0);
    }
    assert_string_equal(got, want);
    tsn_free(got);
}

/* Timers by the incident clock, which is the test's here: each event bears its due time, and an owner that was away for two levels' worth of time
 * climbs one. */
static void test_timers(void **state)
{
    static const char policy[] = "severities:\n  2:\n    respond: 7s\n    resolve: 1h\n    climb:\n"
                                 "      L1: { unanswered: 2s, unresolved: 1h }\n      L2: { unanswered: 3s, unresolved: 1h }\n";
    struct world w;
    struct owner o;
    struct tsn_error error = { 0 };

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    if (tsn_policy_load_escalation(&w.policy, "test", policy, strlen(policy), &error))
        fail_msg("%s", error.message);
    owner_start_under(&o, &w.config, &w.policy, T0);
    world_alert(&w, "ServiceDown", "hook-receiver", "critical", true, T0);
    world_flush(&w);
    assert_times(&w, "opened@0 ");
    owner_stop(&o);
    owner_start_under(&o, &w.config, &w.policy, T0 + 5000);
    assert_times(&w, "opened@0 escalated@2000 ");
    o.clock_ms = T0 + 7999; /* L2 was paged at 5 s: its three seconds count from then */
    assert_times(&w, "opened@0 escalated@2000 breached@7000 ");
    o.clock_ms = T0 + 8000;
    assert_times(&w, "opened@0 escalated@2000 breached@7000 escalated@8000 ");
    o.clock_ms = T0 + 3000; /* a clock that goes back changes nothing */
    tsn_it_sleep_ms(300);
    assert_times(&w, "opened@0 escalated@2000 breached@7000 escalated@8000 ");
    owner_stop(&o);
    world_release(&w);
}

static void write_policy(const char *path, const char *text)
{
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

/* Waits until the incident is to be acknowledged that long after it was opened. */
static void assert_respond_by(struct world *w, const char *id, int64_t after_ms)
{
    int64_t until = tsn_it_now_ms() + 90000, got = -1;
    struct tsn_error error = { 0 };
    struct tsn_store *store = tsn_store_new(&w->config, &error);

    assert_int_equal(tsn_store_connect(store, &error), TSN_OK);
    while (got != after_ms && tsn_it_now_ms() < until) {
        struct tsn_respond_incident in;

        if (tsn_store_incident(store, id, &in, &error) == TSN_OK) {
            got = in.pub.respond_by_ms - in.pub.opened_at_ms;
            tsn_respond_incident_release(&in);
        }
        tsn_it_sleep_ms(20);
    }
    assert_int_equal(got, after_ms);
    tsn_store_free(&store);
}

/* Another escalation policy reaches incidents that are open: by a reload, and by a restart. */
static void test_policy_changes(void **state)
{
    struct world w;
    struct owner o;
    struct tsn_error error = { 0 };
    char path[64], id[40];

    TSN_UNUSED(state);
    world_init(&w, NULL, redis_url, 0, "shadow");
    snprintf(path, sizeof path, "/tmp/%s.yaml", w.name);
    write_policy(path, "severities:\n  2: { respond: 30m }\n");
    tsn_free(w.config.respond.escalation);
    w.config.respond.escalation = tsn_strdup(path);
    owner_start(&o, &w.config);
    world_alert(&w, "ServiceDown", "hook-receiver", "critical", true, T0);
    world_flush(&w);
    world_assert_events(&w);
    snprintf(id, sizeof id, "%.20s", tsn_buf_str(&w.expected));
    assert_respond_by(&w, id, 30 * 60000);
    write_policy(path, "severities:\n  2: { respond: soon }\n");
    assert_int_equal(tsn_respond_stage_reload(o.stage, &error), TSN_ERR_INVALID);
    assert_non_null(strstr(error.message, path));
    write_policy(path, "severities:\n  2: { respond: 20m }\n");
    assert_int_equal(tsn_respond_stage_reload(o.stage, &error), TSN_OK);
    assert_respond_by(&w, id, 20 * 60000);
    owner_stop(&o);
    write_policy(path, "severities:\n  2: { respond: 10m }\n");
    owner_start(&o, &w.config);
    assert_respond_by(&w, id, 10 * 60000);
    owner_stop(&o);
    unlink(path);
    world_assert_events(&w); /* no event tells of it: nothing happened to the incident */
    world_release(&w);
}

static int start_services(void **state)
{
    TSN_UNUSED(state);
    if (tsn_it_service(INSTANCE, "start", "redis") != 0)
        return -1;
    redis_url = tsn_it_instance_address(INSTANCE, "TOCSIN_IT_REDIS");
    return redis_url ? 0 : -1;
}

static int stop_services(void **state)
{
    TSN_UNUSED(state);
    tsn_free(redis_url);
    return tsn_it_service(INSTANCE, "stop", "redis");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_events_once_across_kills), cmocka_unit_test(test_redis_wiped),
        cmocka_unit_test(test_redis_away), cmocka_unit_test(test_redis_rolled_back), cmocka_unit_test(test_redis_full),
        cmocka_unit_test(test_command_is_answered),
        cmocka_unit_test(test_direct_path), cmocka_unit_test(test_direct_path_after_restart),
        cmocka_unit_test(test_standby_takes_over),
        cmocka_unit_test(test_frozen_owner_is_fenced), cmocka_unit_test(test_timers),
        cmocka_unit_test(test_policy_changes),
    };

    self = argv[0];
    if (argc == 5 && strcmp(argv[1], "--owner") == 0)
        owner_main(argv);
    return cmocka_run_group_tests(tests, start_services, stop_services);
}
