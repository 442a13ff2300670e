// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The questions that a client asks about itself: may I (SelfSubjectAccessReview), what may I
 * (SelfSubjectRulesReview), who am I (SelfSubjectReview). Whoever has the token may do everything.
 * Nothing is stored.
 */

#include "base/strbuf.h"
#include "http/simple.h"

struct api;

/* false: the path is none of these and the request was not touched; else it was answered. */
bool review_handle(struct api *api, struct http_simple_request *rq);

/* For discovery: elements of the lists of groups and resources; first: no comma before. Those that
 * append several or none say whether they did. */
void review_append_groups(struct strbuf *out, bool first);
/* The document of one group. */
bool review_append_group(struct strbuf *out, const char *group);
bool review_append_resources(struct strbuf *out, const char *group, const char *version);
void review_append_discovered(struct strbuf *out, bool first);
