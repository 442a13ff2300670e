// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a table of the three kinds; a POST to one of their paths is read, completed with a status
 * and given back.
 */

#include "local/api/review.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "local/api/call.h"

#define AUTHORIZATION  "authorization.k8s.io"
#define AUTHENTICATION "authentication.k8s.io"
#define ANSWER_MAX     (2u << 20)

struct review {
    const char *group, *plural, *singular, *kind;
    int (*complete)(const struct api *api, json_t *review, struct error *err);
};

/* --- answers ------------------------------------------------------------------------------- */

static void set_status(json_t *review, json_t *status)
{
    REQUIRE(status != NULL && json_object_set_new(review, "status", status) == 0);
}

static int complete_access(const struct api *api, json_t *review, struct error *err)
{
    bool resource = jpeek_obj(review, "spec.resourceAttributes") != NULL;
    bool other = jpeek_obj(review, "spec.nonResourceAttributes") != NULL;
    if (resource == other) {
        return error_set(err, ERR_INVALID,
                         "SelfSubjectAccessReview." AUTHORIZATION
                         " \"\" is invalid: spec.resourceAttributes: Invalid value: exactly one of "
                         "nonResourceAttributes or resourceAttributes must be specified");
    }
    set_status(review, json_pack("{s:b,s:s}", "allowed", 1, "reason",
                                 "the token of this machine may do everything"));
    return 0;
}

static int complete_rules(const struct api *api, json_t *review, struct error *err)
{
    if (jpeek_str(review, "spec.namespace").len == 0) {
        return error_set(err, ERR_PROTOCOL, "no namespace on request");
    }
    set_status(review, json_pack("{s:b,s:[{s:[s],s:[s],s:[s]}],s:[{s:[s],s:[s]}]}", "incomplete", 0,
                                 "resourceRules", "verbs", "*", "apiGroups", "*", "resources", "*",
                                 "nonResourceRules", "verbs", "*", "nonResourceURLs", "*"));
    return 0;
}

static int complete_self(const struct api *api, json_t *review, struct error *err)
{
    set_status(review, json_pack("{s:{s:s,s:[s,s]}}", "userInfo", "username", api->user, "groups",
                                 "system:masters", "system:authenticated"));
    return 0;
}

static const struct review reviews[] = {
    {AUTHENTICATION, "selfsubjectreviews", "selfsubjectreview", "SelfSubjectReview", complete_self},
    {AUTHORIZATION, "selfsubjectaccessreviews", "selfsubjectaccessreview",
     "SelfSubjectAccessReview", complete_access},
    {AUTHORIZATION, "selfsubjectrulesreviews", "selfsubjectrulesreview", "SelfSubjectRulesReview",
     complete_rules},
};

/* --- requests ------------------------------------------------------------------------------ */

static const struct review *review_of(struct slice path)
{
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        char own[200];
        (void)snprintf(own, sizeof(own), "/apis/%s/v1/%s", reviews[i].group, reviews[i].plural);
        if (slice_eq_str(path, own)) {
            return &reviews[i];
        }
    }
    return NULL;
}

static int answer(const struct api *api, const struct review *review, json_t *body,
                  struct strbuf *out, struct error *err)
{
    if (!json_is_object(body)) {
        return error_set(err, ERR_PROTOCOL, "the %s must be a JSON object, is %s", review->kind,
                         jtype_name(body));
    }
    const char *kind = jpeek_cstr(body, "kind");
    if (kind[0] != '\0' && strcmp(kind, review->kind) != 0) {
        return error_set(err, ERR_PROTOCOL,
                         "the kind in the data (%.80s) does not match the expected kind (%s)", kind,
                         review->kind);
    }
    char version[80];
    (void)snprintf(version, sizeof(version), "%s/v1", review->group);
    REQUIRE(json_object_set_new(body, "kind", json_string(review->kind)) == 0);
    REQUIRE(json_object_set_new(body, "apiVersion", json_string(version)) == 0);
    if (jpeek_obj(body, "metadata") == NULL) {
        REQUIRE(json_object_set_new(body, "metadata", json_object()) == 0);
    }
    int rc = review->complete(api, body, err);
    return rc < 0 ? rc : jdump(body, out, err);
}

bool review_handle(struct api *api, struct http_simple_request *rq)
{
    const struct review *review = review_of(rq->path);
    if (review == NULL) {
        return false;
    }
    if (!slice_eq_str(rq->method, "POST")) {
        respond_status(rq, 405, "MethodNotAllowed",
                       "the server does not allow this method on the requested resource");
        return true;
    }
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, ANSWER_MAX);
    json_t *body = NULL;
    struct error err;
    int rc = body_read(rq, &body, &err);
    if (rc == 0) {
        rc = answer(api, review, body, &out, &err);
    }
    json_decref(body);
    if (rc < 0) {
        respond_error(rq, &err, NULL);
    } else {
        respond_text(rq, 201, &out);
    }
    return true;
}

/* --- discovery ----------------------------------------------------------------------------- */

static bool first_of_group(size_t i)
{
    return i == 0 || strcmp(reviews[i].group, reviews[i - 1].group) != 0;
}

static void append_one_group(struct strbuf *out, const char *group, const char *head)
{
    (void)strbuf_appendf(out,
                         "{%s\"name\":\"%s\",\"versions\":[{\"groupVersion\":\"%s/v1\","
                         "\"version\":\"v1\"}],\"preferredVersion\":{\"groupVersion\":\"%s/v1\","
                         "\"version\":\"v1\"}}",
                         head, group, group, group);
}

void review_append_groups(struct strbuf *out, bool first)
{
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        if (first_of_group(i)) {
            (void)strbuf_append_str(out, first ? "" : ",");
            append_one_group(out, reviews[i].group, "");
            first = false;
        }
    }
}

bool review_append_group(struct strbuf *out, const char *group)
{
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        if (strcmp(reviews[i].group, group) == 0) {
            append_one_group(out, group, "\"kind\":\"APIGroup\",\"apiVersion\":\"v1\",");
            return true;
        }
    }
    return false;
}

bool review_append_resources(struct strbuf *out, const char *group, const char *version)
{
    bool any = false;
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        if (strcmp(reviews[i].group, group) == 0 && strcmp(version, "v1") == 0) {
            (void)strbuf_appendf(out,
                                 "%s{\"name\":\"%s\",\"singularName\":\"%s\",\"namespaced\":false,"
                                 "\"kind\":\"%s\",\"verbs\":[\"create\"]}",
                                 any ? "," : "", reviews[i].plural, reviews[i].singular,
                                 reviews[i].kind);
            any = true;
        }
    }
    return any;
}

void review_append_discovered(struct strbuf *out, bool first)
{
    for (size_t i = 0; i < ARRAY_LEN(reviews); i++) {
        const struct review *r = &reviews[i];
        bool head = first_of_group(i);
        if (head) {
            (void)strbuf_appendf(out,
                                 "%s{\"metadata\":{\"name\":\"%s\"},\"versions\":[{\"version\":"
                                 "\"v1\",\"resources\":[",
                                 first ? "" : ",", r->group);
            first = false;
        }
        (void)strbuf_appendf(out,
                             "%s{\"resource\":\"%s\",\"responseKind\":{\"group\":\"%s\","
                             "\"version\":\"v1\",\"kind\":\"%s\"},\"scope\":\"Cluster\","
                             "\"singularResource\":\"%s\",\"verbs\":[\"create\"]}",
                             head ? "" : ",", r->plural, r->group, r->kind, r->singular);
        if (i + 1 == ARRAY_LEN(reviews) || first_of_group(i + 1)) {
            (void)strbuf_append_str(out, "],\"freshness\":\"Current\"}]}");
        }
    }
}
