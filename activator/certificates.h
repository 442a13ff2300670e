// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Which certificate a client is shown, by the host name that it asks for: the one of that domain
 * (a DomainMapping's), else a listed one (tls-secrets in config-network) that names the host, else
 * a listed one with a wildcard for it, else the first listed one. Pure: no I/O, no OpenSSL.
 *
 * Owns the rows and what they carry. A row that is replaced or removed goes at once: who has been
 * shown it keeps what it needs.
 */

#include "base/list.h"
#include "base/map.h"
#include "base/slice.h"

struct certificate_row {
    char *id;         /* of the Secret; the key */
    char *host;       /* the domain, lower case; NULL: listed */
    char **names;     /* listed: hosts and "*.DOMAIN", lower case; NULL ends */
    unsigned rank;    /* listed: the smallest comes first */
    int64_t ends_s;   /* since 1970 */
    void *identity;   /* what is shown; released by the table */
    struct list link; /* private: in the listed ones, by rank */
};

struct certificates {
    struct map rows;                 /* private: id -> row, owned */
    struct map hosts;                /* private: host -> row */
    struct list listed;              /* private */
    void (*release)(void *identity); /* private */
};

void certificates_init(struct certificates *t, void (*release)(void *identity));
/* A zeroed table is fine. */
void certificates_fini(struct certificates *t);

struct certificate_spec {
    struct slice id;
    struct slice host; /* empty: listed */
    const struct slice *names;
    size_t n_names;
    unsigned rank;
    int64_t ends_s;
    void *identity; /* taken */
};
/* Adds, or replaces the row of that id. */
void certificates_put(struct certificates *t, const struct certificate_spec *spec);
void certificates_remove(struct certificates *t, struct slice id);
size_t certificates_len(const struct certificates *t);

/* name: as the client spelled it, empty when it named none. NULL: there is no certificate for it.
 */
const struct certificate_row *certificates_choose(const struct certificates *t, struct slice name);
/* One of them is a certificate of this host: the first listed one does not stand in. */
bool certificates_cover(const struct certificates *t, struct slice host);
