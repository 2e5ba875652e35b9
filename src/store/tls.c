/*
 * tls: rediss:// where the build has hiredis_ssl (TSN_REDIS_TLS, set by the Makefile). The server's certificate must be
 * good by the system's roots and name the host we meant: hiredis by itself checks no name. Where the build has none, the
 * configuration is refused before anything is sent.
 */
#include "store/store_int.h"

#ifdef TSN_REDIS_TLS

#include <hiredis/hiredis_ssl.h>
#include <openssl/ssl.h>

struct store_tls {
    SSL_CTX *context; /* outlives every connection made with it */
};

bool store_tls_built(void)
{
    return true;
}

void store_tls_free(struct tsn_store *s)
{
    if (s->tls)
        SSL_CTX_free(s->tls->context);
    tsn_free(s->tls);
    s->tls = NULL;
}

static bool make_context(struct tsn_store *s)
{
    if (s->tls)
        return true;
    s->tls = tsn_calloc(1, sizeof *s->tls);
    s->tls->context = SSL_CTX_new(TLS_client_method());
    if (s->tls->context && SSL_CTX_set_default_verify_paths(s->tls->context) == 1) {
        SSL_CTX_set_min_proto_version(s->tls->context, TLS1_2_VERSION);
        SSL_CTX_set_verify(s->tls->context, SSL_VERIFY_PEER, NULL);
        return true;
    }
    store_tls_free(s);
    return false;
}

enum tsn_err store_tls_start(struct tsn_store *s, redisContext *c, const char *host, struct tsn_error *error)
{
    SSL *ssl = make_context(s) ? SSL_new(s->tls->context) : NULL;

    if (!ssl || SSL_set1_host(ssl, host) != 1 || SSL_set_tlsext_host_name(ssl, host) != 1) {
        SSL_free(ssl);
        return tsn_error_set(error, TSN_ERR_INTERNAL, "Redis %s: TLS could not be set up", s->shown);
    }
    if (redisInitiateSSL(c, ssl) == REDIS_OK)
        return TSN_OK;
    SSL_free(ssl);
    return tsn_error_set(error, TSN_ERR_UNREACHABLE, "Redis %s: TLS: %s", s->shown, c->errstr);
}

#else

bool store_tls_built(void)
{
    return false;
}

void store_tls_free(struct tsn_store *s)
{
    TSN_UNUSED(s);
}

enum tsn_err store_tls_start(struct tsn_store *s, redisContext *c, const char *host, struct tsn_error *error)
{
    TSN_UNUSED(c);
    return tsn_error_set(error, TSN_ERR_UNSUPPORTED, "Redis %s: no TLS to %s in this build", s->shown, host);
}

#endif
