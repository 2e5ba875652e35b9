/* exposition: see exposition.h. */
#include "cli/exposition.h"

#include <string.h>

/* A value behind its opening quote, its escapes undone in place. Returns the closing quote, NULL if there is none. */
static char *unescape(char *at)
{
    char *to = at;

    for (; *at && *at != '"'; at++) {
        bool escaped = *at == '\\' && at[1];

        at += escaped;
        *to++ = escaped && *at == 'n' ? '\n' : *at;
    }
    if (!*at)
        return NULL;
    *to = '\0'; /* on the quote, or before it */
    return at;
}

/* {a="b",c="d"}. Returns what follows, NULL if malformed. */
static char *parse_labels(char *at, struct exposed *s)
{
    for (at++; *at && *at != '}';) {
        char *name = at, *eq = strchr(at, '=');

        if (!eq || eq[1] != '"')
            return NULL;
        *eq = '\0';
        if (s->label_count < EXPOSED_LABELS) {
            s->labels[s->label_count][0] = name;
            s->labels[s->label_count++][1] = eq + 2;
        }
        at = unescape(eq + 2);
        if (!at)
            return NULL;
        at++;
        at += *at == ',';
    }
    return *at ? at + 1 : NULL;
}

void exposition_parse(char *text, struct exposition *out)
{
    for (char *line = text, *next; line && *line; line = next) {
        struct exposed s = { .name = line };
        char *at = line + strcspn(line, "{ \n");

        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        if (*line == '#')
            continue;
        if (*at == '{') {
            *at = '\0';
            at = parse_labels(at, &s);
        } else if (*at) {
            *at++ = '\0';
        }
        if (at && tsn_parse_double(at + strspn(at, " "), strlen(at + strspn(at, " ")), &s.value))
            tsn_vec_push(out, s);
    }
}

const char *exposed_label(const struct exposed *s, const char *name)
{
    for (size_t i = 0; i < s->label_count; i++)
        if (strcmp(s->labels[i][0], name) == 0)
            return s->labels[i][1];
    return "";
}

bool exposed_same(const struct exposed *a, const struct exposed *b)
{
    if (a->label_count > b->label_count)
        return false;
    for (size_t i = 0; i < a->label_count; i++)
        if (strcmp(exposed_label(b, a->labels[i][0]), a->labels[i][1]) != 0)
            return false;
    return true;
}
