/* config_file: the configuration from disk, with the environment and the files that secrets stand in. */
#include "cli/cli.h"
#include "tocsin/config.h"
#include "tocsin/patterns.h"

#include <stdio.h>
#include <stdlib.h>

static char *read_file(void *arg, const char *path, size_t max_bytes, size_t *len, struct tsn_error *error)
{
    TSN_UNUSED(arg);
    return tsn_cli_read_file(path, max_bytes, len, error);
}

static const char *get_env(void *arg, const char *name)
{
    TSN_UNUSED(arg);
    return getenv(name);
}

/* What the patterns ask of section `logs` is no matter of the configuration's own layer. */
static bool patterns_ok(const char *path, struct tsn_config *config, struct tsn_error *error)
{
    struct tsn_pattern_config *patterns;

    if (tsn_pattern_config_read(config, &patterns, error) != TSN_OK) {
        tsn_error_prefix(error, "%s", path);
        tsn_config_release(config);
        return false;
    }
    tsn_pattern_config_free(&patterns);
    return true;
}

bool tsn_cli_load_config(const char *path, struct tsn_config *config)
{
    static const struct tsn_config_io io = { read_file, get_env, NULL };
    struct tsn_error error = { 0 };
    size_t len;
    char *text = tsn_cli_read_file(path, 1 << 20, &len, &error);
    bool ok = text && tsn_config_parse(config, path, text, len, &io, &error) == TSN_OK && patterns_ok(path, config, &error);

    if (!ok)
        fprintf(stderr, "tocsin: %s%s\n", error.message,
                text || error.code != TSN_ERR_IO ? "" : "; --config FILE names the configuration, README.md has one to begin with");
    tsn_free(text);
    return ok;
}

enum { MAX_POLICY_BYTES = 1 << 20 };

typedef enum tsn_err load_policy(struct tsn_policy *policy, const char *file, const char *text, size_t len, struct tsn_error *error);

static bool load_part(const struct tsn_config *config, const char *name, struct tsn_policy *policy, load_policy *load)
{
    char *path, *text;
    struct tsn_error error = { 0 };
    size_t len = 0;
    bool ok;

    if (!*name)
        return true;
    path = tsn_config_path(config, name);
    text = tsn_cli_read_file(path, MAX_POLICY_BYTES, &len, &error);
    ok = text && load(policy, path, text, len, &error) == TSN_OK;
    if (!ok)
        fprintf(stderr, "tocsin: %s\n", error.message);
    tsn_free(text);
    tsn_free(path);
    return ok;
}

bool tsn_cli_load_policy(const struct tsn_config *config, struct tsn_policy *policy)
{
    bool services, escalation;

    tsn_policy_init_default(policy);
    services = load_part(config, config->respond.services, policy, tsn_policy_load_services);
    escalation = load_part(config, config->respond.escalation, policy, tsn_policy_load_escalation);
    return services && escalation;
}
