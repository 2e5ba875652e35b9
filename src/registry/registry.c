/*
 * registry: see tocsin/registry.h. One easy handle, kept for its connection; one map of ids.
 *
 * Waits are jittered by a quarter (by hash of id, count and time), so that workers which lost the registry together do
 * not come back together.
 */
#include "tocsin/registry.h"
#include "tocsin/codec.h"

#include <curl/curl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { URL_BYTES = 2048 };

/* What is known of one id. */
struct schema {
    char *json; /* NULL: bad */
    size_t len;
    enum tsn_err err;
    uint32_t tries;
    int64_t again_ns; /* monotonic */
    char why[200];
};

struct tsn_registry {
    CURL *curl;
    char *url; /* without a slash at its end */
    char *userpwd, *ca_file;
    int64_t timeout_ms, retry_min_ms, retry_max_ms, max_bytes;
    size_t max_schemas;
    struct tsn_map ids; /* int32_t → struct schema * */
    uint32_t down_tries; /* connections that failed in a row */
    int64_t down_until_ns;
    char down_why[200];
    bool full_said;
    struct tsn_registry_stats stats;
};

static void global_init(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

struct tsn_registry *tsn_registry_new(const struct tsn_config *config, struct tsn_error *error)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    const char *url = config->registry.url;
    size_t len = strlen(url);
    struct tsn_registry *r;

    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) {
        tsn_error_set(error, TSN_ERR_INVALID, "registry.url: '%s' is neither http:// nor https://", url);
        return NULL;
    }
    if (len > URL_BYTES - 64) {
        tsn_error_set(error, TSN_ERR_INVALID, "registry.url is longer than %d bytes", URL_BYTES - 64);
        return NULL;
    }
    pthread_once(&once, global_init);
    r = tsn_calloc(1, sizeof *r);
    while (len && url[len - 1] == '/')
        len--;
    r->url = tsn_strndup(url, len);
    if (*config->registry.username) {
        struct tsn_buf pair = TSN_BUF_INIT;

        tsn_buf_printf(&pair, "%s:%s", config->registry.username, config->registry.password);
        r->userpwd = tsn_buf_take(&pair, NULL);
    }
    r->ca_file = *config->registry.ca_file ? tsn_config_path(config, config->registry.ca_file) : NULL;
    r->timeout_ms = config->registry.timeout_ms;
    r->retry_min_ms = config->registry.retry_min_ms;
    r->retry_max_ms = config->registry.retry_max_ms;
    r->max_bytes = config->registry.max_schema_bytes;
    r->max_schemas = (size_t)config->registry.max_schemas;
    tsn_map_init(&r->ids);
    r->curl = curl_easy_init();
    TSN_ASSERT(r->curl);
    return r;
}

static void free_schema(struct schema *s)
{
    tsn_free(s->json);
    tsn_free(s);
}

void tsn_registry_free(struct tsn_registry **registry)
{
    struct tsn_registry *r = *registry;

    if (!r)
        return;
    tsn_map_foreach(&r->ids, e)
        free_schema(e->value);
    tsn_map_release(&r->ids);
    curl_easy_cleanup(r->curl);
    tsn_free(r->url);
    tsn_free(r->userpwd);
    tsn_free(r->ca_file);
    tsn_free(r);
    *registry = NULL;
}

/* ---- one request -------------------------------------------------------------------------- */

struct body {
    struct tsn_buf text;
    size_t max;
    bool too_long;
};

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    struct body *body = arg;

    if (size * count > body->max - body->text.len) {
        body->too_long = true;
        return 0; /* ends the transfer */
    }
    tsn_buf_append(&body->text, data, size * count);
    return size * count;
}

/* OK with *status when there was a whole answer. LIMIT: the answer is too long. UNREACHABLE: none came. */
static enum tsn_err get(struct tsn_registry *r, const char *path, struct body *body, long *status, struct tsn_error *error)
{
    static const char accept[] = "Accept: application/vnd.schemaregistry.v1+json, application/json";
    char url[URL_BYTES], why[CURL_ERROR_SIZE] = "";
    struct curl_slist *headers = curl_slist_append(NULL, accept);
    CURLcode code;

    snprintf(url, sizeof url, "%s%s", r->url, path);
    curl_easy_reset(r->curl); /* options only; the connection stays */
    curl_easy_setopt(r->curl, CURLOPT_URL, url);
    curl_easy_setopt(r->curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(r->curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(r->curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_CONNECTTIMEOUT_MS, (long)r->timeout_ms);
    curl_easy_setopt(r->curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(r->curl, CURLOPT_USERAGENT, "tocsin");
    curl_easy_setopt(r->curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(r->curl, CURLOPT_WRITEDATA, body);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, why);
    if (r->userpwd) {
        curl_easy_setopt(r->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(r->curl, CURLOPT_USERPWD, r->userpwd);
    }
    if (r->ca_file)
        curl_easy_setopt(r->curl, CURLOPT_CAINFO, r->ca_file);
    r->stats.fetches++;
    code = curl_easy_perform(r->curl);
    curl_easy_getinfo(r->curl, CURLINFO_RESPONSE_CODE, status);
    curl_easy_setopt(r->curl, CURLOPT_ERRORBUFFER, NULL);
    curl_slist_free_all(headers);
    if (body->too_long)
        return tsn_error_set(error, TSN_ERR_LIMIT, "the registry's answer is longer than %zu bytes", body->max);
    if (code != CURLE_OK)
        return tsn_error_set(error, TSN_ERR_UNREACHABLE, "registry %s: %s", r->url, *why ? why : curl_easy_strerror(code));
    return TSN_OK;
}

/* What an answer of 200 holds. The schema's text goes to *json. */
static enum tsn_err read_schema(const struct body *body, char **json, size_t *len, struct tsn_error *error)
{
    const struct tsn_json_node *root, *text, *type, *refs;
    struct tsn_json doc;
    enum tsn_err err;

    tsn_json_init(&doc);
    err = tsn_json_parse(&doc, tsn_buf_str(&body->text), body->text.len, error);
    root = err ? NULL : doc.nodes.items;
    text = root ? tsn_json_get(root, "schema") : NULL;
    type = root ? tsn_json_get(root, "schemaType") : NULL;
    refs = root ? tsn_json_get(root, "references") : NULL;
    if (!text || text->kind != TSN_JSON_STRING)
        err = tsn_error_set(error, TSN_ERR_UNREACHABLE, "the answer is not a schema registry's");
    else if (type && type->kind == TSN_JSON_STRING && !tsn_json_is(type, "AVRO"))
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "is of type %.*s, not AVRO", (int)(type->text_len > 20 ? 20 : type->text_len), type->text);
    else if (refs && refs->kind == TSN_JSON_ARRAY && refs->count)
        err = tsn_error_set(error, TSN_ERR_NOT_FOUND, "refers to other subjects, which is not supported");
    else {
        *json = tsn_strndup(text->text, text->text_len);
        *len = text->text_len;
    }
    tsn_json_release(&doc);
    return err;
}

static enum tsn_err judge_status(long status, struct tsn_error *error)
{
    if (status == 200)
        return TSN_OK;
    if (status == 404 || status == 400 || status == 422)
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "is unknown to the registry (HTTP %ld)", status);
    if (status == 401 || status == 403)
        return tsn_error_set(error, TSN_ERR_UNREACHABLE, "the registry does not let us in (HTTP %ld): registry.username, registry.password", status);
    return tsn_error_set(error, TSN_ERR_UNREACHABLE, "the registry answers HTTP %ld", status);
}

/* ---- waits -------------------------------------------------------------------------------- */

/* retry_min · 2^(tries - 1), at most retry_max, less up to a quarter. */
static int64_t wait_ns(const struct tsn_registry *r, int32_t id, uint32_t tries, int64_t now_ns)
{
    struct { int64_t now; int32_t id; uint32_t tries; } seed = { now_ns, id, tries };
    int64_t ms = r->retry_min_ms;

    for (uint32_t i = 1; i < tries && ms < r->retry_max_ms; i++)
        ms *= 2;
    ms = ms > r->retry_max_ms ? r->retry_max_ms : ms;
    return (ms - (int64_t)(tsn_hash64(&seed, sizeof seed) % (uint64_t)(ms / 4 + 1))) * 1000000;
}

/* Room for one id more: a bad one whose wait is over goes first. False: all of them are good. */
static bool make_room(struct tsn_registry *r)
{
    struct tsn_map_entry *victim = NULL;
    int32_t id;

    if (r->ids.count < r->max_schemas)
        return true;
    tsn_map_foreach(&r->ids, e) {
        const struct schema *s = e->value, *v = victim ? victim->value : NULL;

        if (!s->json && (!v || s->again_ns < v->again_ns))
            victim = e;
    }
    if (!victim)
        return false;
    memcpy(&id, tsn_map_entry_key(victim), sizeof id);
    free_schema(tsn_map_del(&r->ids, &id, sizeof id));
    r->stats.bad--;
    return true;
}

static void remember_bad(struct tsn_registry *r, struct schema *s, int32_t id, const struct tsn_error *error)
{
    int64_t now_ns = tsn_mono_now().ns;

    s->err = error->code;
    s->tries++;
    s->again_ns = now_ns + wait_ns(r, id, s->tries, now_ns);
    snprintf(s->why, sizeof s->why, "%.*s", (int)sizeof s->why - 1, error->message);
    tsn_log(TSN_LOG_WARN, "registry", error->code == TSN_ERR_NOT_FOUND ? "a schema is of no use" : "a schema cannot be had now",
            "id=%d tries=%u error=\"%s\"", id, s->tries, error->message);
}

static void remember_down(struct tsn_registry *r, int32_t id, const struct tsn_error *error)
{
    int64_t now_ns = tsn_mono_now().ns;

    r->down_tries++;
    r->down_until_ns = now_ns + wait_ns(r, id, r->down_tries, now_ns);
    snprintf(r->down_why, sizeof r->down_why, "%.*s", (int)sizeof r->down_why - 1, error->message);
    tsn_log(TSN_LOG_WARN, "registry", "no answer", "tries=%u error=\"%s\"", r->down_tries, error->message);
}

/* ---- the two questions -------------------------------------------------------------------- */

/* Fills *s. UNREACHABLE by no connection is the registry's trouble, not the id's: it goes to remember_down. */
static enum tsn_err fetch(struct tsn_registry *r, int32_t id, struct schema *s, struct tsn_error *error)
{
    struct body body = { TSN_BUF_INIT, (size_t)r->max_bytes, false };
    char path[64];
    long status = 0;
    enum tsn_err err;
    bool down;

    snprintf(path, sizeof path, "/schemas/ids/%d", id);
    err = get(r, path, &body, &status, error);
    down = err == TSN_ERR_UNREACHABLE;
    if (err == TSN_ERR_LIMIT)
        err = error->code = TSN_ERR_NOT_FOUND;
    if (!down)
        r->down_tries = 0;
    if (!err)
        err = judge_status(status, error);
    if (!err)
        err = read_schema(&body, &s->json, &s->len, error);
    tsn_buf_release(&body.text);
    if (down)
        remember_down(r, id, error);
    else if (err)
        remember_bad(r, s, id, error);
    else
        s->err = TSN_OK;
    return err;
}

static enum tsn_err answer(struct tsn_registry *r, int32_t id, enum tsn_err err, const char *why, struct tsn_error *error)
{
    if (err == TSN_ERR_NOT_FOUND)
        r->stats.not_found++;
    else
        r->stats.unreachable++;
    tsn_error_set(error, err, "schema id %d: %s", id, why);
    if (error)
        error->retriable = err == TSN_ERR_UNREACHABLE;
    return err;
}

static enum tsn_err first_fetch(struct tsn_registry *r, int32_t id, struct schema **out, struct tsn_error *error)
{
    struct schema fresh = { 0 };
    enum tsn_err err;

    if (!make_room(r)) {
        r->stats.limit++;
        if (!r->full_said)
            tsn_log(TSN_LOG_ERROR, "registry", "registry.max_schemas is reached", "max=%zu", r->max_schemas);
        r->full_said = true;
        return tsn_error_set(error, TSN_ERR_NOT_FOUND, "registry.max_schemas (%zu) is reached", r->max_schemas);
    }
    err = fetch(r, id, &fresh, error);
    if (!fresh.json && !fresh.tries)
        return err; /* the registry is down: nothing is known of the id */
    *out = tsn_memdup(&fresh, sizeof fresh);
    tsn_map_put(&r->ids, &id, sizeof id, *out);
    *(fresh.json ? &r->stats.known : &r->stats.bad) += 1;
    return err;
}

enum tsn_err tsn_registry_schema(void *registry, int32_t id, const char **json, size_t *len, struct tsn_error *error)
{
    struct tsn_registry *r = registry;
    struct schema *s = tsn_map_get(&r->ids, &id, sizeof id);
    int64_t now_ns = tsn_mono_now().ns;
    struct tsn_error own = { 0 };
    enum tsn_err err = TSN_OK;

    if (s && !s->json && now_ns < s->again_ns)
        return answer(r, id, s->err, s->why, error);
    if (!s || !s->json) {
        if (now_ns < r->down_until_ns)
            return answer(r, id, TSN_ERR_UNREACHABLE, r->down_why, error);
        err = s ? fetch(r, id, s, &own) : first_fetch(r, id, &s, &own);
        if (err)
            return answer(r, id, err, own.message, error);
        if (s->tries) {
            r->stats.bad--;
            r->stats.known++;
            s->tries = 0;
        }
    }
    r->stats.hits++;
    *json = s->json;
    *len = s->len;
    return TSN_OK;
}

enum tsn_err tsn_registry_ping(struct tsn_registry *r, struct tsn_error *error)
{
    /* A large registry lists many subjects: a long answer is an answer. */
    struct body body = { TSN_BUF_INIT, 1 << 16, false };
    long status = 0;
    enum tsn_err err = get(r, "/subjects", &body, &status, error);

    tsn_buf_release(&body.text);
    if (err && err != TSN_ERR_LIMIT)
        return err;
    if (status == 200)
        return TSN_OK;
    judge_status(status, error);
    return tsn_error_set(error, TSN_ERR_UNREACHABLE, "registry %s answers HTTP %ld to /subjects", r->url, status);
}

void tsn_registry_get_stats(const struct tsn_registry *r, struct tsn_registry_stats *stats) { *stats = r->stats; }
