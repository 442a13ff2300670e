// SPDX-License-Identifier: Apache-2.0
/*
 * curl's options, one after the other. curl copies texts, but for a body and a list of header
 * fields, which therefore live in struct fetch_told. No option can fail but for want of memory.
 */
#include "fetch/fetch_setup.h"

#include <stdlib.h>

#include "base/mem.h"

enum {
    CONNECT_TIMEOUT_DEFAULT_MS = 10000,
    KEEPALIVE_IDLE_S = 30,
    KEEPALIVE_INTERVAL_S = 10,
    READ_BUFFER = 64 << 10,
};

static char *no_proxy_list(void)
{
    const char *given = getenv("NO_PROXY");
    if (given == NULL) {
        given = getenv("no_proxy");
    }
    /* As Go's clients do: a proxy is never asked for this machine. */
    return xasprintf("localhost,127.0.0.1,::1%s%s", given == NULL ? "" : ",",
                     given == NULL ? "" : given);
}

static char *copy_or_null(const char *text)
{
    return text == NULL ? NULL : xstrdup(text);
}

void fetch_setup_init(struct fetch_setup *s, const struct fetch_options *options)
{
    *s = (struct fetch_setup){
        .ca_pem = copy_or_null(options->ca_pem),
        .cert_pem = copy_or_null(options->client_cert_pem),
        .key_pem = copy_or_null(options->client_key_pem),
        .unix_socket = copy_or_null(options->unix_socket),
        .user_agent =
            xstrdup(options->user_agent == NULL ? "lull/" LULL_VERSION : options->user_agent),
        .no_proxy = no_proxy_list(),
        .insecure = options->insecure,
    };
}

void fetch_setup_fini(struct fetch_setup *s)
{
    free(s->ca_pem);
    free(s->cert_pem);
    free(s->key_pem);
    free(s->unix_socket);
    free(s->user_agent);
    free(s->no_proxy);
}

static struct curl_blob blob_of(const char *text)
{
    /* curl copies; it does not write through the pointer. */
    return (struct curl_blob){
        .data = (void *)(uintptr_t)text, .len = strlen(text), .flags = CURL_BLOB_COPY};
}

static void set_tls(const struct fetch_setup *s, CURL *easy)
{
    if (s->insecure) {
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    if (s->ca_pem != NULL) {
        struct curl_blob blob = blob_of(s->ca_pem);
        curl_easy_setopt(easy, CURLOPT_CAINFO_BLOB, &blob);
    }
    if (s->cert_pem != NULL && s->key_pem != NULL) {
        struct curl_blob cert = blob_of(s->cert_pem);
        struct curl_blob key = blob_of(s->key_pem);
        curl_easy_setopt(easy, CURLOPT_SSLCERT_BLOB, &cert);
        curl_easy_setopt(easy, CURLOPT_SSLKEY_BLOB, &key);
        curl_easy_setopt(easy, CURLOPT_SSLCERTTYPE, "PEM");
        curl_easy_setopt(easy, CURLOPT_SSLKEYTYPE, "PEM");
    }
    curl_easy_setopt(easy, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
}

static void set_method(CURL *easy, const struct fetch_spec *spec, struct fetch_told *told)
{
    if (spec->body.len > 0 || strcmp(spec->method, "POST") == 0) {
        told->body = slice_dup(spec->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, told->body);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)spec->body.len);
    }
    if (strcmp(spec->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
    } else if (strcmp(spec->method, "GET") != 0) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, spec->method);
    }
    told->headers = curl_slist_append(NULL, "Expect:"); /* no 100-continue round trip */
    for (const char *const *h = spec->headers; h != NULL && *h != NULL; h++) {
        told->headers = curl_slist_append(told->headers, *h);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, told->headers);
}

void fetch_setup_apply(const struct fetch_setup *s, CURL *easy, const struct fetch_spec *spec,
                       struct fetch_told *told)
{
    uint64_t connect_ms =
        spec->connect_timeout_ms == 0 ? CONNECT_TIMEOUT_DEFAULT_MS : spec->connect_timeout_ms;
    curl_easy_setopt(easy, CURLOPT_URL, spec->url);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, s->user_agent);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, s->no_proxy);
    curl_easy_setopt(easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, (long)READ_BUFFER);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)connect_ms);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)spec->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
    if (s->unix_socket != NULL) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, s->unix_socket);
    }
    set_tls(s, easy);
    set_method(easy, spec, told);
}

void fetch_told_fini(struct fetch_told *told)
{
    curl_slist_free_all(told->headers);
    free(told->body);
}
