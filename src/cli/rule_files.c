/* rule_files: see rule_files.h. */
#include "cli/rule_files.h"
#include "cli/cli.h"

#include <glob.h>
#include <stdio.h>
#include <string.h>

enum { MAX_BYTES = 16 << 20 };

static bool has_file(const struct rule_texts *texts, const char *file)
{
    for (size_t i = 0; i < texts->len; i++)
        if (strcmp(texts->items[i].file, file) == 0)
            return true;
    return false;
}

static bool add_file(struct rule_texts *texts, const char *file, struct tsn_error *error)
{
    struct tsn_rule_source source = { NULL, NULL, 0 };

    if (has_file(texts, file))
        return true;
    source.text = tsn_cli_read_file(file, MAX_BYTES, &source.len, error);
    if (!source.text)
        return false;
    source.file = tsn_strdup(file);
    tsn_vec_push(texts, source);
    return true;
}

int rule_texts_add(struct rule_texts *texts, const char *pattern, const char *beside, struct tsn_error *error)
{
    const char *slash = beside ? strrchr(beside, '/') : NULL;
    struct tsn_buf path = TSN_BUF_INIT;
    glob_t found = { 0 };
    int count = 0;

    if (slash && *pattern != '/')
        tsn_buf_append(&path, beside, (size_t)(slash - beside) + 1);
    tsn_buf_puts(&path, pattern);
    if (strcmp(pattern, "-") == 0 && !beside)
        count = add_file(texts, pattern, error) ? 1 : -1;
    else if (glob(tsn_buf_str(&path), 0, NULL, &found) == 0)
        for (size_t i = 0; i < found.gl_pathc && count >= 0; i++)
            count = add_file(texts, found.gl_pathv[i], error) ? count + 1 : -1;
    globfree(&found);
    tsn_buf_release(&path);
    return count;
}

void rule_texts_release(struct rule_texts *texts)
{
    for (size_t i = 0; i < texts->len; i++) {
        tsn_free((void *)(uintptr_t)texts->items[i].file);
        tsn_free((void *)(uintptr_t)texts->items[i].text);
    }
    tsn_vec_release(texts);
}

void rule_errors_print(const struct tsn_rule_errors *errors)
{
    for (size_t i = 0; i < errors->len; i++) {
        const struct tsn_rule_error *e = &errors->items[i];

        fprintf(stderr, "%s:%u:%u: %s\n", e->file, e->at.line, e->at.column, e->message);
    }
}
