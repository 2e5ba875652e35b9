/*
 * Goal: whatever crashes, aborts, rebalances and restarts do to the processes, what comes out at
 * the end of the spine (inputs → samples → alerts → incidents) is what one undisturbed pass gives.
 * Method: a seed makes ten minutes of events and a schedule of what the processes of a small cluster do, and what is done to them
 * (sim_clauses.h lists it). When all is drained, the comparisons, byte for byte:
 *
 *   law        alerts = what a DETECT that was never disturbed makes of the samples that lie in the log
 *   reference  alerts = what the sequential rule evaluator makes of the events themselves (lib_reference.c, lib_mining.c)
 *   templates  topic `templates` = what the miner makes of the lines in order; sample lines lie where they say
 *   replay     what tocsin replay makes of the samples = alerts
 *   incidents  published events = what a RESPOND that was never disturbed makes of the same inputs in the same order: in sequence, each
 *              once, no command acted on twice, no level climbed before its time
 *   direct     pages of the direct path bear ids of incidents that then were opened
 *   counts     what was counted in the committed samples = the events, series by series
 *
 * A third of the seeds switch rule sets on the way. In another third partitions count as idle after a second: what an idle partition still
 * had in hand when its owner died is then late for DETECT. Such a seed (and no other) is held against the
 * law, the counts, the replay and the incidents only, not against the events: the reference knows of no lateness.
 *
 * A seed that fails is shrunk: kinds of trouble, length, workers and the time of trouble are taken
 * away as long as it still fails, and the least run is printed as a command.
 *
 * Usage: sim_spine [--seed N] [--seeds N] [--broken NAME] [--faults MASK] [--length S] [--workers
 * N] [--calm-after TURNS] [--jobs N]. Without --broken each broken variant is tried too: it counts as a failed
 * test if no seed notices it. From SIM_ALL_OCCUR seeds on it is a failed test, too, if something in the clause table
 * (lib_cover.c) did not happen. Seeds are dealt to as many processes as there are cores.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sim_actors.h"

enum { BROKEN_SEEDS = 120, LENGTH_S = 600, MINUTE_MS = 60000, LAST_TROUBLE = 8192 };

/* True if every comparison held; else *failure (of 400 bytes) says which did not. Adds what happened to *totals. */
static bool one_run(const struct sim_plan *plan, enum sim_broken broken, struct sim_totals *totals, char *failure)
{
    struct sim_world *s = tsn_alloc(sizeof *s);
    struct sim_sink sink;
    struct sim_story story = { plan->seed, SIM_START_MS + 1, plan->length_s,
                               0,          INT64_MAX,        (plan->faults & SIM_F_OPEN) != 0 };
    struct sim_checks *checks = sim_checks_new(&sink);
    int64_t end_ms;

    sim_world_open(s, plan, SIM_START_MS, broken);
    story.gap_ms = s->gap_ms;
    if (s->born_ms != INT64_MAX) /* producers hear of a partition later than the consumers do */
        story.born_s = (s->born_ms - SIM_START_MS + 2 * MINUTE_MS) / 1000;
    end_ms = sim_produce(&s->cluster, &story, &sink);
    sim_run(s, end_ms);
    sim_check_detect(s, checks);
    if (!s->failure[0])
        sim_check_replay(s);
    if (!s->failure[0])
        sim_responder_finish(s);
    if (!s->failure[0])
        sim_check_incidents(s);
    sim_totals_add(totals, s);
    memcpy(failure, s->failure, sizeof s->failure);
    sim_checks_free(&checks);
    sim_world_close(s);
    tsn_free(s);
    return !failure[0];
}

/* ---- shrinking ---------------------------------------------------------------------------- */

static bool still_fails(const struct sim_plan *plan, enum sim_broken broken, char *failure)
{
    struct sim_totals ignored = { 0 };
    char text[400] = "";

    if (one_run(plan, broken, &ignored, text))
        return false;
    memcpy(failure, text, sizeof text);
    return true;
}

/* Takes away what is not needed for a failure: of whatever kind, for the least run is the easiest
 * to read. */
static void shrink(struct sim_plan *plan, enum sim_broken broken, char *failure)
{
    struct sim_plan less;

    for (int bit = 0; bit < SIM_F_KINDS; bit++) {
        less = *plan;
        less.faults &= ~(1u << bit);
        if (less.faults != plan->faults && still_fails(&less, broken, failure))
            *plan = less;
    }
    for (less = *plan;
         (less.length_s = plan->length_s / 2) >= 60 && still_fails(&less, broken, failure);)
        *plan = less;
    for (int workers = 1; workers < SIM_MAX_WORKERS; workers++) {
        less = *plan;
        less.workers = workers;
        if (still_fails(&less, broken, failure)) {
            *plan = less;
            break;
        }
    }
    for (int64_t step = 4096; step >= 8; step /= 2) {
        less = *plan;
        less.calm_after = (plan->calm_after > LAST_TROUBLE ? LAST_TROUBLE : plan->calm_after) - step;
        if (less.calm_after >= 0 && still_fails(&less, broken, failure))
            *plan = less;
    }
}

static void print_command(const struct sim_plan *plan, enum sim_broken broken)
{
    static const char *const kinds[SIM_F_KINDS] = { "crash",     "abort",  "timeout", "marker",
                                                    "rebalance", "zombie", "repeat",  "starve",
                                                    "grow",      "gap",    "redis",   "clock",
                                                    "open",      "people" };

    printf("  least: build/release/tests/sim/sim_spine --seed %llu --seeds 1 --faults %u --length "
           "%lld --workers %d --calm-after %lld%s%s  (",
           (unsigned long long)plan->seed, plan->faults, (long long)plan->length_s, plan->workers,
           (long long)plan->calm_after, broken ? " --broken " : "",
           broken ? sim_broken_name(broken) : "");
    for (int bit = 0; bit < SIM_F_KINDS; bit++)
        if (plan->faults & 1u << bit)
            printf(" %s", kinds[bit]);
    printf(" )\n");
}

/* ---- broken variants ---------------------------------------------------------------------- */

static bool variant_is_noticed(const struct sim_plan *first, enum sim_broken broken)
{
    struct sim_totals totals = { 0 };
    struct sim_plan plan = *first;
    char failure[400] = "";

    for (int n = 0; n < BROKEN_SEEDS; n++, plan.seed++)
        if (!one_run(&plan, broken, &totals, failure)) {
            printf("broken variant %s: noticed by seed %llu: %.160s\n", sim_broken_name(broken),
                   (unsigned long long)plan.seed, failure);
            return true;
        }
    printf("broken variant %s: no seed of %d noticed it\n", sim_broken_name(broken), BROKEN_SEEDS);
    return false;
}

/* The shrinker's own test: a variant that fails must fail after shrinking too, and with half the kinds of trouble at most (whether a
 * shorter run is enough, too, is the seed's). */
static bool shrinking_works(const struct sim_plan *first)
{
    struct sim_plan plan = *first;
    char failure[400] = "";

    if (!still_fails(&plan, SIM_SPLIT_COMMIT, failure))
        return false;
    shrink(&plan, SIM_SPLIT_COMMIT, failure);
    printf("shrunk: %.160s\n", failure);
    print_command(&plan, SIM_SPLIT_COMMIT);
    return still_fails(&plan, SIM_SPLIT_COMMIT, failure) && __builtin_popcount(plan.faults) <= SIM_F_KINDS / 2;
}

static void report_seed(const struct sim_plan *plan, char *failure)
{
    struct sim_plan least = *plan;

    printf("seed %llu: %s\n  again: make sim SEED=%llu SEEDS=1\n", (unsigned long long)plan->seed, failure,
           (unsigned long long)plan->seed);
    shrink(&least, SIM_SOUND, failure);
    printf("  shrunk: %s\n", failure);
    print_command(&least, SIM_SOUND);
    fflush(stdout);
}

/* ---- the work, dealt to as many processes as there are cores ------------------------------- */

enum { MAX_JOBS = 16, ENOUGH_FAILURES = 5, WORTH_A_TABLE = 60 };

struct request {
    struct sim_plan plan;
    uint64_t seeds;
    const char *only; /* this broken variant alone */
    int jobs;
};
/* In memory that the processes share: each writes its own totals. */
struct shared {
    atomic_uint_fast64_t next; /* task: a seed, then a broken variant, then the shrinker's test */
    atomic_int passed, failed;
    struct sim_totals totals[MAX_JOBS];
};

static bool wanted(const struct request *q, uint64_t broken)
{
    return q->only ? strcmp(q->only, sim_broken_name((enum sim_broken)broken)) == 0 : q->seeds >= 20;
}

static bool run_task(const struct request *q, uint64_t task, struct sim_totals *totals)
{
    uint64_t seeds = q->only ? 0 : q->seeds;
    struct sim_plan plan = q->plan;
    char failure[400] = "";

    if (task >= seeds + SIM_BROKEN_COUNT - 1)
        return shrinking_works(&plan);
    if (task >= seeds)
        return variant_is_noticed(&plan, (enum sim_broken)(task - seeds + 1));
    plan.seed += task;
    if (one_run(&plan, SIM_SOUND, totals, failure))
        return true;
    report_seed(&plan, failure);
    return false;
}

static void work(const struct request *q, struct shared *shared, int job)
{
    uint64_t seeds = q->only ? 0 : q->seeds, variants = seeds + SIM_BROKEN_COUNT - 1, task;

    while ((task = atomic_fetch_add(&shared->next, 1)) <= variants) {
        if (task < seeds && atomic_load(&shared->failed) >= ENOUGH_FAILURES)
            continue;
        if ((task >= seeds && task < variants && !wanted(q, task - seeds + 1)) ||
            (task == variants && (q->only || q->seeds < 20)))
            continue;
        if (run_task(q, task, &shared->totals[job]))
            atomic_fetch_add(&shared->passed, 1);
        else
            atomic_fetch_add(&shared->failed, 1);
    }
}

static void copy_out(FILE *from)
{
    char bytes[4096];
    size_t n;

    rewind(from);
    while ((n = fread(bytes, 1, sizeof bytes, from)) > 0)
        fwrite(bytes, 1, n, stdout);
    fclose(from);
}

/* Each process says what it found into a file of its own: lines of two do not mix. */
static void deal(const struct request *q, struct shared *shared)
{
    FILE *said[MAX_JOBS];
    pid_t pids[MAX_JOBS];

    fflush(stdout);
    for (int job = 0; job < q->jobs; job++) {
        said[job] = tmpfile();
        pids[job] = said[job] ? fork() : -1;
        if (pids[job] < 0) {
            perror("sim_spine");
            exit(1);
        }
        if (pids[job])
            continue;
        dup2(fileno(said[job]), STDOUT_FILENO);
        work(q, shared, job);
        exit(0); /* not _exit: the leak checker has its say */
    }
    for (int job = 0; job < q->jobs; job++) {
        int status = 0;

        waitpid(pids[job], &status, 0);
        copy_out(said[job]);
        if (status) {
            printf("a process of the simulator ended with status %#x\n", (unsigned)status);
            atomic_fetch_add(&shared->failed, 1);
        }
    }
}

static int summary(const struct request *q, struct shared *shared)
{
    struct sim_totals all = { 0 };
    int missing = 0;

    for (int job = 0; job < q->jobs; job++)
        sim_totals_merge(&all, &shared->totals[job]);
    if (!q->only) {
        printf("%llu seeds: %zu batches, %zu takeovers, %zu alert transitions, %zu incident events, %zu direct pages\n",
               (unsigned long long)q->seeds, all.batches, all.takeovers, all.alerts, all.incidents, all.direct);
        if (q->seeds >= WORTH_A_TABLE)
            missing = sim_totals_print(&all, q->seeds >= SIM_ALL_OCCUR && q->plan.faults == SIM_F_ALL);
    }
    printf("%d passed, %d failed\n", atomic_load(&shared->passed), atomic_load(&shared->failed) + missing);
    return atomic_load(&shared->failed) + missing > 0;
}

/* ---- main --------------------------------------------------------------------------------- */

static void take_options(int argc, char **argv, struct request *q)
{
    struct sim_plan *plan = &q->plan;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            plan->seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--seeds") == 0)
            q->seeds = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--broken") == 0)
            q->only = argv[i + 1];
        else if (strcmp(argv[i], "--faults") == 0)
            plan->faults = (unsigned)strtoul(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--length") == 0)
            plan->length_s = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--workers") == 0)
            plan->workers = (int)strtol(argv[i + 1], NULL, 10) % (SIM_MAX_WORKERS + 1);
        else if (strcmp(argv[i], "--calm-after") == 0)
            plan->calm_after = strtoll(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--jobs") == 0)
            q->jobs = (int)strtol(argv[i + 1], NULL, 10);
    }
    q->jobs = q->jobs < 1 ? 1 : q->jobs > MAX_JOBS ? MAX_JOBS : q->jobs;
}

int main(int argc, char **argv)
{
    struct request q = { .plan = { .seed = 1, .faults = SIM_F_ALL, .length_s = LENGTH_S, .calm_after = INT64_MAX },
                         .seeds = 100,
                         .jobs = (int)sysconf(_SC_NPROCESSORS_ONLN) };
    struct shared *shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (shared == MAP_FAILED) {
        perror("sim_spine");
        return 1;
    }
    take_options(argc, argv, &q);
    deal(&q, shared);
    return summary(&q, shared);
}
