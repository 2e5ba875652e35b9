/*
 * inputs: what each input topic can carry, and which of them must be read side by side.
 *
 * The declarations go into `samples`, where DETECT finds out from them which inputs feed a unit. Every worker declares all inputs that are configured, its own or
 * not, so that the first batch of a new log says what there is to wait for; the word of partition 0's owner goes before the others' (DETECT tells by
 * the batch's own partitions). A topic that is an input no more is declared with no partitions. Here declarations say which inputs are TIED: those
 * that bring series to one unit. DETECT holds what one of them brings ahead of the other, so the shell keeps tied ones
 * within time.align of each other, and lets others run: an hour of log backlog does not hold up the metric rules.
 */
#include "ingest/ingest_int.h"
#include "tocsin/shard.h"

#include <string.h>

static void add_name(struct tsn_input_decl *d, const char *name, const char *suffix)
{
    struct tsn_buf full = TSN_BUF_INIT;

    tsn_buf_printf(&full, "%s%s", name, suffix);
    d->names = tsn_reallocarray(d->names, d->name_count + 1, sizeof *d->names);
    d->names[d->name_count++] = tsn_buf_take(&full, NULL);
}

static void add_histogram(struct tsn_input_decl *d, const char *name)
{
    add_name(d, name, "_bucket");
    add_name(d, name, "_sum");
    add_name(d, name, "_count");
}

static void add_mapped(struct tsn_input_decl *d, const struct tsn_map_series *s)
{
    if (s->kind == TSN_MAP_HISTOGRAM)
        add_histogram(d, s->name);
    else
        add_name(d, s->name, "");
}

static void declare(const struct tsn_ingest *in, size_t input, int32_t partition_count, struct tsn_input_decl *out)
{
    const struct tsn_input_config *c = &in->config->inputs.items[input];
    struct tsn_input_decl d = { .topic = c->topic, .partition_count = partition_count };

    d.type = tsn_strdup(tsn_input_type_name((enum tsn_input_type)c->type));
    switch ((enum tsn_input_type)c->type) {
    case TSN_INPUT_METRICS: d.any_name = true; break;
    case TSN_INPUT_LOGS:
        add_name(&d, "log_messages_total", "");
        add_name(&d, "log_template_messages_total", "");
        add_name(&d, "log_templates_discovered_total", "");
        break;
    case TSN_INPUT_HOOKS:
        add_name(&d, "hooks_processed_total", "");
        add_histogram(&d, "hook_processing_duration_seconds");
        add_name(&d, "intelligence_patterns_discovered_total", "");
        break;
    case TSN_INPUT_MAPPED:
        for (size_t i = 0; i < c->series.len; i++)
            add_mapped(&d, &c->series.items[i]);
        break;
    }
    *out = d;
}

/* Its topic is the configuration's, or in->gone's. */
static void decl_release(struct tsn_input_decl *decl)
{
    for (size_t n = 0; n < decl->name_count; n++)
        tsn_free(decl->names[n]);
    tsn_free(decl->names);
    tsn_free(decl->type);
}

/* As partition 0's owner took them over, or as the shell last heard. */
static int32_t count_of(const struct tsn_ingest *in, size_t input)
{
    const struct part *first = in->inputs[input].len ? in->inputs[input].items[0] : NULL;

    return first ? first->partition_count : in->told[input].count;
}

void inputs_declare(struct tsn_ingest *in, int64_t naming, struct input_decls *out)
{
    for (size_t i = 0; i < in->config->inputs.len; i++) {
        struct told_input *told = &in->told[i];
        int32_t count = count_of(in, i);
        struct tsn_input_decl decl;

        if (count < 1 || (told->naming == naming && told->declared_count == count))
            continue;
        declare(in, i, count, &decl);
        tsn_vec_push(out, decl);
        told->naming = naming;
        told->declared_count = count;
    }
    for (size_t i = 0; i < in->gone.len && in->gone_naming != naming; i++) {
        struct tsn_input_decl decl = { .topic = in->gone.items[i], .type = tsn_strdup("") };

        tsn_vec_push(out, decl);
    }
    in->gone_naming = naming;
}

void input_decls_release(struct input_decls *decls)
{
    for (size_t i = 0; i < decls->len; i++)
        decl_release(&decls->items[i]);
    tsn_vec_release(decls);
}

void tsn_ingest_know_count(struct tsn_ingest *in, size_t input, int32_t partition_count)
{
    TSN_ASSERT(input < in->config->inputs.len);
    in->told[input].count = partition_count;
}

static void forget_gone(struct tsn_ingest *in)
{
    for (size_t i = 0; i < in->gone.len; i++)
        tsn_free(in->gone.items[i]);
    tsn_vec_clear(&in->gone);
}

bool tsn_ingest_gone(struct tsn_ingest *in, char *const *topics, size_t count)
{
    bool same = count == in->gone.len;

    for (size_t i = 0; i < count && same; i++)
        same = strcmp(topics[i], in->gone.items[i]) == 0;
    if (same)
        return false;
    forget_gone(in);
    for (size_t i = 0; i < count; i++)
        tsn_vec_push(&in->gone, tsn_strdup(topics[i]));
    in->gone_naming = 0;
    in->dirty = true;
    return true;
}

void inputs_release(struct tsn_ingest *in)
{
    forget_gone(in);
    tsn_vec_release(&in->gone);
    tsn_free(in->told);
    tsn_free(in->tied);
}

/* Anew after every change of rule sets; a pair that any known set ties is tied. */
static void find_ties(struct tsn_ingest *in)
{
    size_t count = in->config->inputs.len;
    struct tsn_input_decl *decls = tsn_calloc(count, sizeof *decls);

    for (size_t i = 0; i < count; i++)
        declare(in, i, 0, &decls[i]);
    in->tied = tsn_reallocarray(in->tied, count * count, sizeof *in->tied);
    memset(in->tied, 0, count * count * sizeof *in->tied);
    for (size_t s = 0; s < in->sets.len; s++)
        tsn_inputs_tie(in->sets.items[s].set, decls, count, in->tied);
    for (size_t i = 0; i < count; i++)
        decl_release(&decls[i]);
    tsn_free(decls);
    in->tied_generation = in->generation;
}

bool tsn_ingest_tied(struct tsn_ingest *in, size_t a, size_t b)
{
    TSN_ASSERT(a < in->config->inputs.len && b < in->config->inputs.len);
    if (!in->tied || in->tied_generation != in->generation)
        find_ties(in);
    return a == b || in->tied[a * in->config->inputs.len + b];
}
