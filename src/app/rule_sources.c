/* rule_sources: the rule files that the configuration names, as texts. */
#include "app/app_int.h"

#include <errno.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_RULE_BYTES = 16 << 20 };

char *tsn_app_read_file(const char *path, size_t max_bytes, size_t *len, struct tsn_error *error)
{
    FILE *file = fopen(path, "rb");
    struct tsn_buf text = TSN_BUF_INIT;
    size_t got = 1;

    *len = 0;
    if (!file) {
        tsn_error_set(error, TSN_ERR_IO, "%s: %s", path, strerror(errno));
        return NULL;
    }
    while (got && text.len <= max_bytes) {
        char *at = tsn_buf_reserve(&text, 65536);

        got = fread(at, 1, 65536, file);
        text.len += got;
    }
    if (ferror(file) || text.len > max_bytes) {
        tsn_error_set(error, text.len > max_bytes ? TSN_ERR_LIMIT : TSN_ERR_IO, "%s: %s", path,
                      text.len > max_bytes ? "larger than allowed" : strerror(errno));
        fclose(file);
        tsn_buf_release(&text);
        return NULL;
    }
    fclose(file);
    tsn_buf_putc(&text, '\0');
    text.len--;
    return tsn_buf_take(&text, len);
}

static enum tsn_err add_file(const struct tsn_config *config, const char *path, struct tsn_rule_sources *out, struct tsn_error *error)
{
    size_t base = strlen(config->base_dir);
    const char *name = strncmp(path, config->base_dir, base) == 0 && path[base] == '/' ? path + base + 1 : path;
    struct tsn_rule_source source = { NULL, NULL, 0 };

    for (size_t i = 0; i < out->len; i++)
        if (strcmp(out->items[i].file, name) == 0)
            return TSN_OK;
    source.text = tsn_app_read_file(path, MAX_RULE_BYTES, &source.len, error);
    if (!source.text)
        return error->code;
    source.file = tsn_strdup(name);
    tsn_vec_push(out, source);
    return TSN_OK;
}

static int by_file(const void *a, const void *b)
{
    return strcmp(((const struct tsn_rule_source *)a)->file, ((const struct tsn_rule_source *)b)->file);
}

enum tsn_err tsn_app_read_rules(const struct tsn_config *config, struct tsn_rule_sources *out, struct tsn_error *error)
{
    enum tsn_err err = TSN_OK;

    for (size_t i = 0; i < config->rules.len && !err; i++) {
        char *pattern = tsn_config_path(config, config->rules.items[i]);
        glob_t found = { 0 };

        if (glob(pattern, 0, NULL, &found) != 0)
            err = tsn_error_set(error, TSN_ERR_INVALID, "%s: rules: no file matches %s", config->file, pattern);
        for (size_t f = 0; f < found.gl_pathc && !err; f++)
            err = add_file(config, found.gl_pathv[f], out, error);
        globfree(&found);
        tsn_free(pattern);
    }
    if (err)
        tsn_rule_sources_release(out);
    else if (out->len)
        qsort(out->items, out->len, sizeof *out->items, by_file);
    return err;
}

void tsn_rule_sources_release(struct tsn_rule_sources *sources)
{
    for (size_t i = 0; i < sources->len; i++) {
        tsn_free((void *)(uintptr_t)sources->items[i].file);
        tsn_free((void *)(uintptr_t)sources->items[i].text);
    }
    tsn_vec_release(sources);
}
