// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: the body is the data as it came; of a body that is JSON a few members are read. Failure: a
 * member or header that names the event is not there, or is no text that an attribute may have.
 */
#include "broker/hook_event.h"

#include "base/clock.h"
#include "base/random.h"
#include "json/jget.h"
#include "json/jparse.h"

#define ID_HEX     32
#define SOURCE_MAX 1024

/* A member by a dotted path of names, as the source says it: any text is fine. */
static struct slice member(const json_t *root, const char *path)
{
    struct slice rest = slice_str(path);
    struct slice name;
    const json_t *at = root;
    while (at != NULL && slice_split(&rest, '.', &name)) {
        at = json_object_getn(at, name.ptr, name.len);
    }
    return json_is_string(at) ? slice_of(json_string_value(at), json_string_length(at))
                              : (struct slice){0};
}

static int set(struct event *ev, const char *name, struct slice value, struct error *err)
{
    return event_set(ev, slice_str(name), value, err);
}

static int set_time(struct event *ev, int64_t wall_ns, struct error *err)
{
    char now[CLOCK_RFC3339_MAX];
    return set(ev, "time", slice_str(clock_format_rfc3339(wall_ns, 9, now, sizeof(now))), err);
}

static int set_random_id(struct event *ev, struct error *err)
{
    char id[ID_HEX + 1];
    return set(ev, "id", slice_str(random_hex(id, ID_HEX)), err);
}

/* --- who sends ----------------------------------------------------------------------------- */

static int from_github(const struct webhook_object *hook, const struct http_head *head,
                       const json_t *body, struct event *ev, struct error *err)
{
    char type[512];
    struct slice what = http_head_get(head, SLICE_LIT("x-github-event"));
    struct slice delivery = http_head_get(head, SLICE_LIT("x-github-delivery"));
    struct slice action = jpeek_str(body, "action");
    struct slice from = jpeek_str(body, "repository.url");
    if (slice_empty(what)) {
        return error_set(err, ERR_INVALID, "the request has no header X-GitHub-Event");
    }
    int n = snprintf(type, sizeof(type), "com.github.%.*s%s%.*s", SLICE_FMT(what),
                     slice_empty(action) ? "" : ".", SLICE_FMT(action));
    if (n < 0 || (size_t)n >= sizeof(type)) {
        return error_set(err, ERR_INVALID, "X-GitHub-Event or action is too long");
    }
    int rc = set(ev, "type",
                 hook->common.type != NULL ? slice_str(hook->common.type) : slice_str(type), err);
    if (rc == 0 && !hook->common.own_source && !slice_empty(from) && from.len <= SOURCE_MAX) {
        rc = set(ev, "source", from, err);
    }
    if (rc < 0) {
        return rc;
    }
    return slice_empty(delivery) ? set_random_id(ev, err) : set(ev, "id", delivery, err);
}

static int from_stripe(const struct webhook_object *hook, const json_t *body, struct event *ev,
                       struct error *err)
{
    char type[512];
    struct slice id = jpeek_str(body, "id");
    struct slice what = jpeek_str(body, "type");
    int64_t created_s = jpeek_i64(body, "created");
    if (slice_empty(id) || slice_empty(what)) {
        return error_set(err, ERR_INVALID, "the body is no event of Stripe: it has no id or type");
    }
    int n = snprintf(type, sizeof(type), "com.stripe.%.*s", SLICE_FMT(what));
    if (n < 0 || (size_t)n >= sizeof(type)) {
        return error_set(err, ERR_INVALID, "type is too long");
    }
    int rc = set(ev, "type",
                 hook->common.type != NULL ? slice_str(hook->common.type) : slice_str(type), err);
    rc = rc < 0 ? rc : set(ev, "id", id, err);
    if (rc == 0 && created_s > 0 && created_s < INT64_MAX / (int64_t)CLOCK_NS_PER_S) {
        rc = set_time(ev, created_s * (int64_t)CLOCK_NS_PER_S, err);
    }
    return rc;
}

/* Where the source says that it stands; ERR_INVALID when nothing is there. ptr NULL: not said. */
static int find(const char *header, const char *field, const struct http_head *head,
                const json_t *body, struct slice *out, struct error *err)
{
    *out = (struct slice){0};
    if (header != NULL) {
        *out = http_head_get(head, slice_str(header));
        if (slice_empty(*out)) {
            return error_set(err, ERR_INVALID, "the request has no header %.100s", header);
        }
    } else if (field != NULL) {
        *out = member(body, field);
        if (slice_empty(*out)) {
            return error_set(err, ERR_INVALID, "the body has no text %.100s", field);
        }
    }
    return 0;
}

static int from_others(const struct webhook_object *hook, const struct http_head *head,
                       const json_t *body, struct event *ev, struct error *err)
{
    struct slice type, id;
    int rc = find(hook->type_header, hook->type_field, head, body, &type, err);
    rc = rc < 0 ? rc : find(hook->id_header, hook->id_field, head, body, &id, err);
    if (rc < 0) {
        return rc;
    }
    if (type.ptr == NULL) {
        type = hook->common.type != NULL ? slice_str(hook->common.type) : SLICE_LIT(HOOK_TYPE);
    }
    rc = set(ev, "type", type, err);
    if (rc < 0) {
        return rc;
    }
    return id.ptr == NULL ? set_random_id(ev, err) : set(ev, "id", id, err);
}

/* --- the event ----------------------------------------------------------------------------- */

/* A media type that an event may not have is said to be bytes: the sender may be right about it. */
static int set_type(struct event *ev, struct slice media_type, struct error *err)
{
    int rc = 0;
    if (!slice_empty(media_type)) {
        rc = set(ev, "datacontenttype", media_type, NULL);
        rc = rc < 0 ? rc : event_check(ev, NULL);
    }
    if (rc < 0 || (slice_empty(media_type) && ev->data.len > 0)) {
        rc = set(ev, "datacontenttype", SLICE_LIT("application/octet-stream"), err);
    }
    return rc;
}

int hook_event(const struct webhook_object *hook, const struct http_head *head, struct slice body,
               int64_t wall_ns, struct event *out, struct error *err)
{
    CLEANUP(jfree) json_t *parsed = NULL;
    event_init(out);
    (void)!jparse_last(body, body.len, &parsed, NULL);
    int rc = set(out, "specversion", SLICE_LIT("1.0"), err);
    rc = rc < 0 ? rc : set(out, "source", slice_str(hook->common.source), err);
    rc = rc < 0 ? rc : set_time(out, wall_ns, err);
    if (rc < 0) {
        return rc;
    }
    rc = hook->rule.scheme == SIGNATURE_GITHUB   ? from_github(hook, head, parsed, out, err)
         : hook->rule.scheme == SIGNATURE_STRIPE ? from_stripe(hook, parsed, out, err)
                                                 : from_others(hook, head, parsed, out, err);
    if (rc < 0) {
        return rc;
    }
    out->data = body;
    rc = set_type(out, http_head_get(head, SLICE_LIT("content-type")), err);
    return rc < 0 ? rc : source_finish_event(&hook->common, out, err);
}
