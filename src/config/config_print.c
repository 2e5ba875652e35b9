/* config_print: the effective configuration as YAML without its secrets, and the reference of every key. */
#include "config/config_internal.h"

#include <inttypes.h>
#include <string.h>

static void put_choice(struct tsn_buf *out, const char *choices, int64_t index)
{
    while (index-- > 0)
        choices += strcspn(choices, "|") + 1;
    tsn_buf_append(out, choices, strcspn(choices, "|"));
}

static void put_text(struct tsn_buf *out, const char *text)
{
    tsn_buf_json_string(out, text, strlen(text));
}

static void put_value(struct tsn_buf *out, const struct tsn_config_option *o, const void *base)
{
    const void *field = (const char *)base + o->offset;
    char duration[TSN_DURATION_TEXT];

    switch (o->kind) {
    case TSN_CK_TEXT: put_text(out, *(char *const *)field); return;
    case TSN_CK_SECRET: put_text(out, **(char *const *)field ? "***" : ""); return;
    case TSN_CK_BOOL: tsn_buf_puts(out, *(const bool *)field ? "on" : "off"); return;
    case TSN_CK_DURATION:
        tsn_format_duration(duration, *(const int64_t *)field);
        tsn_buf_puts(out, duration);
        return;
    case TSN_CK_CHOICE: put_choice(out, o->choices, *(const int64_t *)field); return;
    case TSN_CK_TEXTS: {
        const struct tsn_texts *texts = field;

        tsn_buf_putc(out, '[');
        for (size_t i = 0; i < texts->len; i++) {
            tsn_buf_puts(out, i ? ", " : "");
            put_text(out, texts->items[i]);
        }
        tsn_buf_putc(out, ']');
        return;
    }
    case TSN_CK_PAIRS: {
        const struct tsn_pair_texts *pairs = field;

        tsn_buf_putc(out, '{');
        for (size_t i = 0; i < pairs->len; i++) {
            tsn_buf_puts(out, i ? ", " : "");
            put_text(out, pairs->items[i].name);
            tsn_buf_puts(out, ": ");
            put_text(out, pairs->items[i].value);
        }
        tsn_buf_putc(out, '}');
        return;
    }
    case TSN_CK_INT:
    case TSN_CK_SIZE:
    default: tsn_buf_printf(out, "%" PRId64, *(const int64_t *)field); return;
    }
}

static void put_table(struct tsn_buf *out, const struct tsn_config_section *table, const void *base, const char *indent)
{
    for (size_t i = 0; i < table->count; i++) {
        tsn_buf_printf(out, "%s%s: ", i ? indent : "", table->options[i].key);
        put_value(out, &table->options[i], base);
        tsn_buf_putc(out, '\n');
    }
}

static void put_input(struct tsn_buf *out, const struct tsn_input_config *input)
{
    tsn_buf_puts(out, "  - ");
    put_table(out, &tsn_config_input_table, input, "    ");
    if (input->filters.len)
        tsn_buf_puts(out, "    filter:\n");
    for (size_t i = 0; i < input->filters.len; i++) {
        tsn_buf_puts(out, "      - ");
        put_table(out, &tsn_config_filter_table, &input->filters.items[i], "        ");
    }
    if (input->series.len)
        tsn_buf_puts(out, "    series:\n");
    for (size_t i = 0; i < input->series.len; i++) {
        tsn_buf_puts(out, "      - ");
        put_table(out, &tsn_config_series_table, &input->series.items[i], "        ");
    }
}

void tsn_config_print(const struct tsn_config *config, struct tsn_buf *out)
{
    tsn_buf_puts(out, "kafka:\n");
    for (size_t i = 0; i < config->kafka.len; i++) {
        const struct tsn_kafka_property *p = &config->kafka.items[i];

        tsn_buf_puts(out, "  ");
        put_text(out, p->name);
        tsn_buf_puts(out, ": ");
        put_text(out, p->secret ? "***" : p->value);
        tsn_buf_putc(out, '\n');
    }
    tsn_buf_puts(out, "inputs:\n");
    for (size_t i = 0; i < config->inputs.len; i++)
        put_input(out, &config->inputs.items[i]);
    tsn_buf_puts(out, "rules:\n");
    for (size_t i = 0; i < config->rules.len; i++) {
        tsn_buf_puts(out, "  - ");
        put_text(out, config->rules.items[i]);
        tsn_buf_putc(out, '\n');
    }
    tsn_buf_printf(out, "outputs:\n  incidents: { format: %s }\n  alerts: { format: %s }\n",
                   config->incidents.format ? "avro" : "json", config->alerts.format ? "avro" : "json");
    for (size_t i = 0; i < tsn_config_section_count; i++) {
        tsn_buf_printf(out, "%s:\n  ", tsn_config_sections[i].name);
        put_table(out, &tsn_config_sections[i], (const char *)config + tsn_config_sections[i].offset, "  ");
    }
}

/* ---- reference ---------------------------------------------------------------------------- */

static const char *kind_name(const struct tsn_config_option *o)
{
    switch (o->kind) {
    case TSN_CK_SECRET: return "secret";
    case TSN_CK_BOOL: return "on/off";
    case TSN_CK_INT: return "number";
    case TSN_CK_DURATION: return "duration";
    case TSN_CK_SIZE: return "size";
    case TSN_CK_CHOICE: return o->choices;
    case TSN_CK_TEXTS: return "list";
    case TSN_CK_PAIRS: return "mapping";
    case TSN_CK_TEXT:
    default: return "text";
    }
}

static void put_row(struct tsn_buf *out, const char *section, const struct tsn_config_option *o, bool markdown)
{
    if (!markdown) {
        size_t begin = out->len;

        tsn_buf_printf(out, "  %s%s%s", section, *o->key == '[' ? "" : ".", o->key);
        while (out->len - begin < 34)
            tsn_buf_putc(out, ' ');
        tsn_buf_printf(out, " %s [%s%s%s]\n", o->help, kind_name(o), *o->fallback ? ", default " : "", o->fallback);
        return;
    }
    tsn_buf_printf(out, "| `%s%s%s` | ", section, *o->key == '[' ? "" : ".", o->key);
    for (const char *c = kind_name(o); *c; c++)
        tsn_buf_puts(out, *c == '|' ? " / " : (char[2]){ *c, 0 });
    tsn_buf_printf(out, " | %s%s%s | %s |\n", *o->fallback ? "`" : "", o->fallback, *o->fallback ? "`" : "", o->help);
}

void tsn_config_reference(struct tsn_buf *out, bool markdown)
{
    static const struct tsn_config_option kafka = { "PROPERTY", TSN_CK_TEXT, 0, 0, 0, "", NULL,
                                                    "any librdkafka property; PROPERTY_file reads it from a file" };
    /* What the parser reads without a table of its own. */
    static const struct {
        const char *prefix;
        struct tsn_config_option option;
    } lists[] = {
        { "rules", { "[]", TSN_CK_TEXT, 0, 0, 0, "", NULL, "rule files: names and globs, relative to this file" } },
        { "outputs.incidents", { "topic", TSN_CK_TEXT, 0, 0, 0, "", NULL, "name of the topic; as topics.incidents" } },
        { "outputs.incidents", { "format", TSN_CK_CHOICE, 0, 0, 0, "json", "json|avro", "JSON, or Avro" } },
        { "outputs.alerts", { "topic", TSN_CK_TEXT, 0, 0, 0, "", NULL, "name of the topic; as topics.alerts" } },
        { "outputs.alerts", { "format", TSN_CK_CHOICE, 0, 0, 0, "json", "json|avro", "JSON, or Avro" } },
    };
    static const struct {
        const char *prefix;
        const struct tsn_config_section *table;
    } items[] = { { "inputs[]", &tsn_config_input_table }, { "inputs[].filter[]", &tsn_config_filter_table },
                  { "inputs[].series[]", &tsn_config_series_table } };

    if (markdown)
        tsn_buf_puts(out, "| key | type | default | what |\n|---|---|---|---|\n");
    put_row(out, "kafka", &kafka, markdown);
    for (size_t i = 0; i < TSN_ARRAY_LEN(lists); i++)
        put_row(out, lists[i].prefix, &lists[i].option, markdown);
    for (size_t t = 0; t < TSN_ARRAY_LEN(items); t++)
        for (size_t i = 0; i < items[t].table->count; i++)
            put_row(out, items[t].prefix, &items[t].table->options[i], markdown);
    for (size_t s = 0; s < tsn_config_section_count; s++)
        for (size_t i = 0; i < tsn_config_sections[s].count; i++)
            put_row(out, tsn_config_sections[s].name, &tsn_config_sections[s].options[i], markdown);
}
