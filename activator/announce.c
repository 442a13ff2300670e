// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a POST is gathered (bounded), judged without a wait as far as that goes, and then answered
 * once its sender was asked back. Nothing of what a stranger says is kept before its code was found
 * right, and nothing is used before the API has shown the Pod that it names.
 *
 * Failure modes: whatever is wrong has a row in announced.h: it is answered, counted, and changes
 * nothing. Questions under way, records and the memory of what was seen are bounded.
 */
#include "activator/announce.h"

#include "base/clock.h"
#include "base/fs.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "http/client.h"
#include "metric/rows.h"
#include "serving/announce.h"
#include "activator/objects.h"
#include "activator/prober.h"

#define SECRET_MAX      4096
#define SECRET_MIN      16u
#define DIALS_MAX       256u /* questions under way */
#define DIALS_PER_IP    8u
#define DIAL_TIMEOUT_MS 500
#define DIAL_ANSWER_MAX 256

/* A POST that is being read or waits for its answer. */
struct arrival {
    struct announce *a;
    struct http_exchange *ex;
    struct dial *dial; /* whose outcome it waits for, or NULL */
    struct strbuf text;
};

/* A question under way. */
struct dial {
    struct list link;
    struct announce *a;
    struct arrival *arrival;  /* NULL: its sender has gone */
    struct announced *record; /* NULL: it is of no use any more */
    struct http_client *client;
    struct strbuf text; /* the announcement */
    char key[SHA256_HEX + 1];
    char challenge[ANNOUNCE_NONCE + 1];
    char ip[ADDR_TEXT_MAX];
};

static void arm(struct announce *a)
{
    uint64_t due = 0;
    uint64_t now = loop_now_ns(a->loop);
    (void)announced_overdue(&a->table, now, &due);
    if (due == UINT64_MAX || a->closing) {
        timer_stop(&a->timer);
    } else if (!timer_active(&a->timer)) {
        timer_start(&a->timer, due <= now ? 0 : (due - now) / CLOCK_NS_PER_MS + 1);
    }
}

static void drop(struct announce *a, struct announced *record)
{
    struct dial *d = record->dial;
    if (d != NULL) {
        d->record = NULL;
    }
    announced_remove(&a->table, record);
}

/* The record has come to its end; what the Pod's own word is counts again. */
static void end(struct announce *a, struct announced *record, enum announced_end why)
{
    CLEANUP(cleanup_free) char *ns = xstrdup(record->ns);
    CLEANUP(cleanup_free) char *pod = xstrdup(record->pod);
    bool counted = announced_counts(record);
    a->counts[why]++;
    if (why == ANNOUNCED_EVICTED) {
        LOG_INFO("an announced replica is not used any more", LOG_STR("namespace", ns),
                 LOG_STR("pod", pod), LOG_STR("address", record->ip));
    }
    drop(a, record);
    if (counted && why == ANNOUNCED_EVICTED) {
        a->hooks.changed(a->hooks.arg, ns, pod);
    }
}

static void on_timer(struct timer *timer)
{
    struct announce *a = timer->data;
    struct announced *record;
    uint64_t due;
    while ((record = announced_overdue(&a->table, loop_now_ns(a->loop), &due)) != NULL) {
        end(a, record, ANNOUNCED_EVICTED);
    }
    arm(a);
}

/* --- answers -------------------------------------------------------------------------------- */

static void arrival_free(struct arrival *at)
{
    strbuf_fini(&at->text);
    free(at);
}

/* The arrival is over. */
static void answer(struct arrival *at, enum announced_end why)
{
    char text[160];
    struct http_exchange *ex = at->ex;
    arrival_free(at);
    snprintf(text, sizeof(text), "%s: %s\n", announced_label(why), announced_words(why));
    http_exchange_listen(ex, NULL, NULL);
    http_exchange_respond(ex, announced_status(why), "text/plain; charset=utf-8", slice_str(text));
}

static void finish(struct arrival *at, enum announced_end why)
{
    at->a->counts[why]++;
    answer(at, why);
}

/* --- asking back ---------------------------------------------------------------------------- */

static void dial_free(struct dial *d)
{
    list_remove(&d->link);
    d->a->n_dials--;
    if (d->record != NULL) {
        d->record->dial = NULL;
    }
    if (d->arrival != NULL) {
        d->arrival->dial = NULL;
    }
    strbuf_fini(&d->text);
    free(d);
}

static bool is_proof(const struct dial *d, int rc, const struct http_client_answer *answer_)
{
    char proof[SHA256_HEX + 1];
    if (!prober_is_good(rc, answer_) || d->record == NULL) {
        return false;
    }
    announce_proof(slice_of(d->key, SHA256_HEX), slice_of(d->challenge, ANNOUNCE_NONCE),
                   slice_str(d->record->uid), slice_str(d->ip), proof);
    return secret_eq(slice_of(proof, SHA256_HEX),
                     http_head_get(answer_->head, SLICE_LIT(ANNOUNCE_PROOF)));
}

/* What the API says of the Pod (NULL: nothing) is applied to its record. False: it is over. */
static bool apply(struct announced *r, const struct announced_pod *pod, enum announced_end *out_end)
{
    enum announced_view view =
        announced_look(pod, slice_str(r->uid), slice_str(r->revision), slice_str(r->ip), NULL);
    if (!announced_view(r, view, out_end)) {
        return false;
    }
    if (announced_counts(r) && r->address == NULL) {
        r->address = object_address(r->ip, pod->port);
    }
    return true;
}

/* The record was proven: it counts from now on, unless the API says otherwise. */
static enum announced_end proven(struct announce *a, struct announced *r)
{
    struct announced_pod pod;
    enum announced_end why = ANNOUNCED_EVICTED;
    r->state = ANNOUNCED_WAITING_STATE;
    if (!apply(r, a->hooks.pod(a->hooks.arg, r->ns, r->pod, &pod) ? &pod : NULL, &why)) {
        end(a, r, why);
        return why == ANNOUNCED_CONFIRMED ? ANNOUNCED_KNOWN : ANNOUNCED_GONE;
    }
    if (announced_counts(r)) {
        a->hooks.changed(a->hooks.arg, r->ns, r->pod);
    }
    arm(a);
    return ANNOUNCED_ACCEPTED;
}

static void on_dialled(int rc, const struct http_client_answer *answer_, const struct error *err,
                       void *arg)
{
    struct dial *d = arg;
    struct announce *a = d->a;
    enum announced_end why = ANNOUNCED_UNPROVEN;
    d->client = NULL;
    if (is_proof(d, rc, answer_)) {
        if (a->relay != NULL) {
            a->relay(a->relay_arg,
                     strbuf_slice(&d->text)); /* first: others may be lent its slots */
        }
        struct announced *r = d->record;
        r->dial = NULL;
        d->record = NULL;
        why = proven(a, r);
    } else if (d->record != NULL) {
        drop(a, d->record);
        arm(a);
    }
    a->counts[why]++;
    struct arrival *at = d->arrival;
    dial_free(d);
    if (at != NULL) {
        answer(at, why);
    }
}

static bool may_dial(const struct announce *a, const char *ip)
{
    unsigned same = 0;
    list_foreach (node, &a->dials) {
        same += strcmp(LIST_ENTRY(node, struct dial, link)->ip, ip) == 0 ? 1 : 0;
    }
    return a->n_dials < DIALS_MAX && same < DIALS_PER_IP;
}

static int ask_back(struct dial *d, uint16_t port)
{
    struct http_header headers[4];
    CLEANUP(cleanup_free) char *address = object_address(d->ip, port);
    struct http_client_request request = prober_request(address);
    REQUIRE(request.n_headers < ARRAY_LEN(headers));
    memcpy(headers, request.headers, request.n_headers * sizeof(headers[0]));
    headers[request.n_headers++] = (struct http_header){
        .name = SLICE_LIT(ANNOUNCE_CHALLENGE), .value = slice_of(d->challenge, ANNOUNCE_NONCE)};
    request.headers = headers;
    request.timeout_ms = DIAL_TIMEOUT_MS;
    request.max_body = DIAL_ANSWER_MAX;
    return http_client_start(d->a->loop, &request, on_dialled, d, &d->client, NULL);
}

/* Begins to ask back; the arrival is answered later unless this fails. */
static bool dial(struct arrival *at, const struct announced *like, const char *key, uint16_t port)
{
    struct announce *a = at->a;
    struct announced *record =
        may_dial(a, like->ip) ? announced_add(&a->table, like, loop_now_ns(a->loop)) : NULL;
    if (record == NULL) {
        return false;
    }
    struct dial *d = NEW(struct dial);
    d->a = a;
    list_init(&d->link);
    list_push_back(&a->dials, &d->link);
    a->n_dials++;
    memcpy(d->key, key, sizeof(d->key));
    random_hex(d->challenge, ANNOUNCE_NONCE);
    snprintf(d->ip, sizeof(d->ip), "%s", like->ip);
    strbuf_init(&d->text, ANNOUNCE_MAX);
    strbuf_append_slice(&d->text, strbuf_slice(&at->text));
    d->record = record;
    record->dial = d;
    if (ask_back(d, port) < 0) {
        drop(a, record);
        dial_free(d);
        return false;
    }
    d->arrival = at;
    at->dial = d;
    arm(a);
    return true;
}

/* --- judging -------------------------------------------------------------------------------- */

/* Reads it, and finds out whether whoever wrote it may speak for the Revision. */
static bool believed(struct announce *a, struct slice text, struct announcement *said,
                     char key[static SHA256_HEX + 1], enum announced_end *out_end)
{
    struct error err;
    *out_end = ANNOUNCED_MALFORMED;
    if (announcement_read(text, said, &err) < 0) {
        LOG_DEBUG("an announcement cannot be read", LOG_ERR(&err));
        return false;
    }
    announce_key(strbuf_slice(&a->secret), said->revision_uid, key);
    *out_end = ANNOUNCED_FORGED;
    if (!announcement_is_signed(said, slice_of(key, SHA256_HEX))) {
        return false;
    }
    *out_end = ANNOUNCED_STALE;
    return announced_is_fresh(said->time_ms, clock_wall_ns() / (int64_t)CLOCK_NS_PER_MS);
}

/* A record as the announcement would have it; texts are copies. */
static struct announced record_of(const struct announcement *said)
{
    return (struct announced){.uid = slice_dup(said->pod_uid),
                              .ns = slice_dup(said->ns),
                              .pod = slice_dup(said->pod),
                              .revision = slice_dup(said->revision),
                              .ip = slice_dup(said->address)};
}

static void record_fini(struct announced *like)
{
    free(like->uid);
    free(like->ns);
    free(like->pod);
    free(like->revision);
    free(like->ip);
}

static enum announced_end check_revision(const struct announce *a, const struct announced *like,
                                         struct slice uid)
{
    const char *known = a->hooks.revision_uid(a->hooks.arg, like->ns, like->revision);
    return known == NULL              ? ANNOUNCED_UNKNOWN_REVISION
           : slice_eq_str(uid, known) ? ANNOUNCED_ACCEPTED
                                      : ANNOUNCED_GONE;
}

/* ACCEPTED: worth asking back, at *out_port. */
static enum announced_end check(const struct announce *a, const struct announced *like,
                                struct slice revision_uid, uint16_t *out_port)
{
    struct announced_pod pod;
    enum announced_end why = check_revision(a, like, revision_uid);
    if (why != ANNOUNCED_ACCEPTED) {
        return why;
    }
    bool known = a->hooks.pod(a->hooks.arg, like->ns, like->pod, &pod);
    *out_port = known ? pod.port : 0;
    (void)announced_look(known ? &pod : NULL, slice_str(like->uid), slice_str(like->revision),
                         slice_str(like->ip), &why);
    if (why == ANNOUNCED_ACCEPTED && announced_get(&a->table, slice_str(like->uid)) != NULL) {
        why = ANNOUNCED_KNOWN;
    }
    return why;
}

static void judge(struct arrival *at)
{
    struct announce *a = at->a;
    struct announcement said;
    char key[SHA256_HEX + 1];
    enum announced_end why;
    if (!believed(a, strbuf_slice(&at->text), &said, key, &why)) {
        finish(at, why);
        return;
    }
    if (!slice_eq(said.address, http_exchange_peer(at->ex))) {
        finish(at, ANNOUNCED_WRONG_SOURCE);
        return;
    }
    if (announced_was_seen(&a->table, said.code)) {
        finish(at, ANNOUNCED_REPLAYED);
        return;
    }
    uint16_t port = 0;
    struct announced like = record_of(&said);
    why = check(a, &like, said.revision_uid, &port);
    if (why == ANNOUNCED_ACCEPTED) {
        a->hooks.started(a->hooks.arg, like.ns, like.revision);
        if (dial(at, &like, key, port)) {
            record_fini(&like);
            return;
        }
        why = ANNOUNCED_FULL;
    }
    record_fini(&like);
    finish(at, why);
}

void announce_heard(struct announce *a, struct slice text)
{
    struct announcement said;
    char key[SHA256_HEX + 1];
    enum announced_end why;
    uint16_t port = 0;
    if (!a->on || a->closing) {
        return;
    }
    if (!believed(a, text, &said, key, &why)) {
        a->counts[why]++;
        return;
    }
    struct announced like = record_of(&said);
    why = check(a, &like, said.revision_uid, &port);
    if (why == ANNOUNCED_ACCEPTED || why == ANNOUNCED_UNKNOWN_POD) {
        struct announced *record = announced_add(&a->table, &like, loop_now_ns(a->loop));
        why = record == NULL ? ANNOUNCED_FULL : ANNOUNCED_RELAYED;
        if (record != NULL) {
            a->hooks.started(a->hooks.arg, like.ns, like.revision);
            (void)proven(a, record);
        }
    }
    a->counts[why]++;
    record_fini(&like);
}

/* --- the listener's side -------------------------------------------------------------------- */

static void on_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    struct arrival *at = arg;
    if (strbuf_append_slice(&at->text, chunk) < 0) {
        finish(at, ANNOUNCED_MALFORMED);
    }
}

static void on_end(struct http_exchange *ex, void *arg)
{
    struct arrival *at = arg;
    if (at->a->closing) {
        http_exchange_abort(ex);
    } else {
        judge(at);
    }
}

static void on_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct arrival *at = arg;
    if (at->dial != NULL) {
        at->dial->arrival = NULL;
    }
    arrival_free(at);
}

bool announce_takes(struct announce *a, struct http_exchange *ex)
{
    static const struct http_exchange_events events = {
        .on_body = on_body, .on_end = on_end, .on_close = on_close};
    const struct http_head *head = http_exchange_request(ex);
    if (a == NULL || !a->on || head->method_id != HTTP_METHOD_POST ||
        !slice_eq(head->target, SLICE_LIT(ANNOUNCE_PATH))) {
        return false;
    }
    struct arrival *at = NEW(struct arrival);
    at->a = a;
    at->ex = ex;
    strbuf_init(&at->text, ANNOUNCE_MAX);
    http_exchange_listen(ex, &events, at);
    http_exchange_resume(ex);
    return true;
}

/* --- the watch's side ----------------------------------------------------------------------- */

void announce_pod(struct announce *a, const char *uid, const struct announced_pod *pod)
{
    struct announced *r = announced_get(&a->table, slice_str(uid));
    enum announced_end why = ANNOUNCED_EVICTED;
    if (r == NULL) {
        return;
    }
    if (pod == NULL || !apply(r, pod, &why)) {
        a->counts[why]++;
        drop(a, r);
    }
    arm(a);
}

const char *announce_address(const struct announce *a, const char *uid)
{
    const struct announced *r = announced_get(&a->table, slice_str(uid));
    return r != NULL && announced_counts(r) ? r->address : NULL;
}

void announce_write(const struct announce *a, struct strbuf *out)
{
    static const char name[] = "lull_activator_announcements_total";
    metric_write_head(out, "counter", name, "Announcements of replicas, by how they ended.");
    for (enum announced_end i = 0; i < ANNOUNCED_N; i++) {
        strbuf_appendf(out, "%s{result=\"%s\"} %llu\n", name, announced_label(i),
                       (unsigned long long)a->counts[i]);
    }
    metric_write_head(out, "gauge", "lull_activator_announced_replicas",
                      "Replicas whose announcement the API has not confirmed yet.");
    strbuf_appendf(out, "lull_activator_announced_replicas %zu\n", announced_len(&a->table));
}

/* --- life ----------------------------------------------------------------------------------- */

static int read_secret(struct announce *a, const char *path, struct error *err)
{
    if (path == NULL || path[0] == '\0') {
        return error_set(err, ERR_INVALID, "--announce needs --install-secret-file");
    }
    int rc = fs_read_file(path, SECRET_MAX, &a->secret, err);
    while (rc == 0 && a->secret.len > 0 && a->secret.ptr[a->secret.len - 1] <= ' ') {
        strbuf_truncate(&a->secret, a->secret.len - 1);
    }
    if (rc == 0 && a->secret.len < SECRET_MIN) {
        rc = error_set(err, ERR_INVALID, "%s has only %zu bytes", path, a->secret.len);
    }
    return rc < 0 ? error_prefix(err, rc, "--install-secret-file") : 0;
}

int announce_start(struct announce *a, struct loop *loop, const struct config *config,
                   const struct announce_hooks *hooks, struct error *err)
{
    *a = (struct announce){.loop = loop, .hooks = *hooks};
    announced_init(&a->table);
    list_init(&a->dials);
    strbuf_init(&a->secret, SECRET_MAX);
    timer_init(&a->timer, loop, on_timer, a);
    closer_init(&a->closer);
    closer_hold(&a->closer);
    if (!config->announce) {
        return 0;
    }
    int rc = read_secret(a, config->install_secret_file, err);
    a->on = rc == 0;
    return rc;
}

static void on_timer_closed(struct timer *timer)
{
    struct announce *a = timer->data;
    closer_drop(&a->closer);
}

void announce_close(struct announce *a, void (*cb)(void *arg), void *arg)
{
    a->closing = true;
    list_foreach_safe (node, &a->dials) {
        struct dial *d = LIST_ENTRY(node, struct dial, link);
        http_client_cancel(d->client);
        if (d->arrival != NULL) {
            http_exchange_abort(d->arrival->ex);
        }
        dial_free(d);
    }
    announced_fini(&a->table);
    announced_init(&a->table);
    strbuf_fini(&a->secret);
    timer_close(&a->timer, on_timer_closed);
    (void)closer_close(&a->closer, a->loop, cb, arg);
}
