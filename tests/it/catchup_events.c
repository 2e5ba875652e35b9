/*
 * catchup_events: the events of the catch-up test, and its exact answer, by a plain program that shares nothing with Tocsin.
 *
 *   catchup_events events N START_MS PARTITION    one JSON event a line: those of N events that lie on PARTITION of 4
 *   catchup_events answer N START_MS              one line a transition: "service step_ms from to bad count"
 *
 * N events stand evenly in SPAN_S of event time; event i belongs to service i mod 50 and partition i / 50 mod 4, and is the gauge request_failed, 0
 * or 1, of an instance that lives on that partition alone. A service has bad spells. Partitions differ in the size of their events, which is what makes a
 * consumer with a limit of bytes a fetch read them at different paces; the last is the throttled one.
 *
 * The rule: sum by (service) (sum_over_time(request_failed[5m])) / sum by (service) (count_over_time(request_failed[5m])) > 0.2, for 1m, every 15 s. A step
 * of 15 s sees the 20 cells of 15 s that end with its own (windows are open on the left), so counts in cells are all the state there is.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SERVICES = 50, PARTITIONS = 4, SPAN_S = 12000, STEP_S = 15, CELLS = SPAN_S / STEP_S + 2, WINDOW = 20, FOR_STEPS = 4, QUIET_MIN = 14 };

static const int padding[PARTITIONS] = { 0, 40, 120, 600 };

/* Percent of failures: none at the two ends, so that the answer does not hang on where event time begins and ends. */
static int share_of(int64_t offset_ms, int service)
{
    int64_t minute = offset_ms / 60000;

    if (minute < QUIET_MIN || minute >= SPAN_S / 60 - QUIET_MIN)
        return 0;
    return (minute / 7 + service) % 11 == 0 ? 45 : 2;
}

static int failed(int64_t i, int64_t offset_ms)
{
    uint64_t mixed = (uint64_t)(i + 1) * UINT64_C(0x9E3779B97F4A7C15);

    return (int)((mixed >> 33) % 100) < share_of(offset_ms, (int)(i % SERVICES));
}

static void write_events(int64_t n, int64_t start_ms, int partition)
{
    char pad[1024];

    memset(pad, 'x', sizeof pad);
    for (int64_t i = 0; i < n; i++) {
        int64_t offset_ms = i * SPAN_S * 1000 / n;

        if (i / SERVICES % PARTITIONS != partition)
            continue;
        printf("{\"name\":\"request_failed\",\"labels\":{\"service\":\"svc-%d\",\"instance\":\"%d\"},\"value\":%d,\"timestamp\":%" PRId64
               ",\"kind\":\"gauge\",\"note\":\"%.*s\"}\n",
               (int)(i % SERVICES), partition, failed(i, offset_ms), start_ms + offset_ms, padding[partition], pad);
    }
}

static void transition(int service, int64_t step_ms, const char *from, const char *to, long bad, long count)
{
    printf("svc-%d %" PRId64 " %s %s %ld %ld\n", service, step_ms, from, to, bad, count);
}

static void answer_service(int service, const int32_t *bad_in, const int32_t *in, int64_t start_ms)
{
    long bad = 0, count = 0;
    int active = 0; /* steps for which the condition has held */

    for (int cell = 0; cell < CELLS; cell++) {
        int64_t step_ms = start_ms + (int64_t)cell * STEP_S * 1000;

        bad += bad_in[cell] - (cell >= WINDOW ? bad_in[cell - WINDOW] : 0);
        count += in[cell] - (cell >= WINDOW ? in[cell - WINDOW] : 0);
        if (count && (double)bad / (double)count > 0.2) {
            active++;
            if (active == 1)
                transition(service, step_ms, "inactive", "pending", bad, count);
            if (active == FOR_STEPS + 1)
                transition(service, step_ms, "pending", "firing", bad, count);
        } else {
            if (active)
                transition(service, step_ms, active > FOR_STEPS ? "firing" : "pending", "resolved", bad, count);
            active = 0;
        }
    }
}

static void write_answer(int64_t n, int64_t start_ms)
{
    static int32_t bad[SERVICES][CELLS], in[SERVICES][CELLS];

    for (int64_t i = 0; i < n; i++) {
        int64_t offset_ms = i * SPAN_S * 1000 / n, cell = (offset_ms + STEP_S * 1000 - 1) / (STEP_S * 1000);

        in[i % SERVICES][cell]++;
        bad[i % SERVICES][cell] += failed(i, offset_ms);
    }
    for (int s = 0; s < SERVICES; s++)
        answer_service(s, bad[s], in[s], start_ms);
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "events") == 0)
        write_events(strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10), (int)strtol(argv[4], NULL, 10));
    else if (argc == 4 && strcmp(argv[1], "answer") == 0)
        write_answer(strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10));
    else
        return 2;
    return ferror(stdout) != 0;
}
