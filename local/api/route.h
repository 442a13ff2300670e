// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a path of the API names: a kind and perhaps a namespace, an object and a subresource.
 * Pure; owns nothing.
 */

#include "base/error.h"
#include "base/slice.h"
#include "serving/kinds.h"

#define ROUTE_NAME_MAX 254

enum route_what {
    ROUTE_NONE,       /* 404 */
    ROUTE_DISCOVERY,  /* /api, /apis, /apis/GROUP, /api/v1, /apis/GROUP/VERSION */
    ROUTE_COLLECTION, /* …/services, …/namespaces/NS/services */
    ROUTE_OBJECT,     /* …/services/NAME[/SUB] */
};

enum route_sub { ROUTE_SUB_NONE, ROUTE_SUB_STATUS, ROUTE_SUB_SCALE, ROUTE_SUB_LOG };

struct route {
    enum route_what what;
    const struct kind *kind; /* NULL for discovery */
    char group[ROUTE_NAME_MAX];
    char version[64];
    char ns[ROUTE_NAME_MAX];   /* "": none, or all */
    char name[ROUTE_NAME_MAX]; /* of an object */
    enum route_sub sub;
};

/* `path` without query, as sent. ROUTE_NONE for whatever is not known. */
void route_parse(struct slice path, struct route *out);
