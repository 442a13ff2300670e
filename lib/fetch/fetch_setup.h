// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What curl is told of a request: where to, how, with which certificates. Private to lib/fetch.
 * Owns: copies of a client's options. May not: set callbacks, or start anything.
 */

#include <curl/curl.h>

#include "fetch/fetch.h"

/* Of a client; NULL: not given. */
struct fetch_setup {
    char *ca_pem; /* private, all */
    char *cert_pem;
    char *key_pem;
    char *unix_socket;
    char *user_agent;
    char *no_proxy;
    bool insecure;
};

/* What curl borrows of one request until it has left curl. Zeroed is empty. */
struct fetch_told {
    struct curl_slist *headers; /* private */
    char *body;
};

/* options are copied; hosts that need no proxy come from the environment too. */
void fetch_setup_init(struct fetch_setup *s, const struct fetch_options *options);
void fetch_setup_fini(struct fetch_setup *s);

/* easy: new, or reset. told: empty; outlives the request in curl. */
void fetch_setup_apply(const struct fetch_setup *s, CURL *easy, const struct fetch_spec *spec,
                       struct fetch_told *told);
void fetch_told_fini(struct fetch_told *told);
