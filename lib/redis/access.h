// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a connection is made with: the address, who we are, the certificates. Files are read again
 * for each connection, so that a password, a certificate or an address that was exchanged counts
 * from the next one on. Owns copies of the texts. Blocks for as long as small local files take.
 */

#include "redis/address.h"
#include "redis/conn.h"

/* What a mounted Secret may have beside the address' file; counts where no option names another. */
enum redis_beside { REDIS_CA, REDIS_CERT, REDIS_KEY, REDIS_SENTINEL_PASSWORD, REDIS_BESIDE_COUNT };

struct redis_access {
    struct redis_conn_options files;  /* copies */
    char *beside[REDIS_BESIDE_COUNT]; /* private: their paths; NULL: there is no such file to be */
};

void redis_access_init(struct redis_access *a, const struct redis_conn_options *options);
void redis_access_fini(struct redis_access *a);
/* The file that counts now, borrowed; NULL: none. */
const char *redis_access_file(const struct redis_access *a, enum redis_beside which);
/* *tls stays NULL without TLS. The caller frees both. Errors name the file, never its content. */
MUST_CHECK int redis_access_load(const struct redis_access *a, struct redis_address *address,
                                 struct tls_context **tls, struct error *err);
