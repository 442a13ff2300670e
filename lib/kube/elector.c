// SPDX-License-Identifier: Apache-2.0
/*
 * Happy path: the cache brings the Lease, the table says what to do, one write at a time goes out
 * with the version that was seen; the timer wakes the table when nothing else does. Failure modes:
 * a write that fails (somebody was faster, the API is away) is told to the table, which tries again
 * or stops leading when its time is over. At the close a lease of ours is given back with an empty
 * holder; if that fails, others wait until it runs out.
 */
#include "kube/elector.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/random.h"
#include "loop/timer.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/cache.h"

enum { GIVE_BACK_MS = 2000, JITTER_PERCENT = 10, DURATION_MIN_MS = 1000, HOST_MAX = 200 };

static const struct kube_kind lease_kind = {"coordination.k8s.io", "v1", "leases"};

struct lease_value {
    char *holder;
    uint64_t duration_ms;
    int64_t transitions;
};

struct elector {
    struct kube_client *client;
    struct loop *loop;
    char *ns;
    char *name;
    void (*on_change)(void *arg, bool leads);
    void *arg;
    struct lease lease;
    struct kube_cache *cache;
    struct timer timer;
    int64_t transitions;
    bool told; /* on_change(true) was the last word */
    bool closing;
    bool giving_back;
    size_t n_open; /* cache, timer, writes */
    void (*close_cb)(void *arg);
    void *close_arg;
};

static void turn(struct elector *e);
static void drop(struct elector *e);

/* --- what is there ------------------------------------------------------------------------- */

static int project(void *arg, const json_t *object, void *value, struct error *err)
{
    struct lease_value *v = value;
    int64_t seconds = jpeek_i64(object, "spec.leaseDurationSeconds");
    (void)arg;
    (void)err;
    v->holder = xstrdup(jpeek_cstr(object, "spec.holderIdentity"));
    v->duration_ms = seconds > 0 && seconds < 86400 ? (uint64_t)seconds * 1000 : DURATION_MIN_MS;
    v->transitions = jpeek_i64(object, "spec.leaseTransitions");
    return 0;
}

static void release(void *arg, void *value)
{
    struct lease_value *v = value;
    (void)arg;
    free(v->holder);
}

static void look(struct elector *e)
{
    if (e->closing || !kube_cache_synced(e->cache)) {
        return;
    }
    const struct kube_entry *entry = kube_cache_get(e->cache, e->ns, e->name);
    if (entry == NULL) {
        e->transitions = 0;
        lease_saw(&e->lease, NULL, loop_now_ms(e->loop));
        return;
    }
    const struct lease_value *v = entry->value;
    struct lease_record record = {v->holder, entry->resource_version, v->duration_ms};
    e->transitions = v->transitions;
    lease_saw(&e->lease, &record, loop_now_ms(e->loop));
}

static void on_event(void *arg, const struct kube_entry *entry)
{
    struct elector *e = arg;
    (void)entry;
    look(e);
    turn(e);
}

static void on_updated(void *arg, const struct kube_entry *entry, const void *old)
{
    (void)old;
    on_event(arg, entry);
}

static void on_synced(void *arg)
{
    on_event(arg, NULL);
}

/* --- writing ------------------------------------------------------------------------------- */

/* holder "": given back. */
static json_t *body_of(const struct elector *e, const char *holder, bool fresh)
{
    char now[CLOCK_RFC3339_MAX];
    bool taken = !fresh && strcmp(e->lease.holder, e->lease.identity) != 0;
    uint64_t seconds = holder[0] == '\0' ? 1 : (e->lease.settings.duration_ms + 999) / 1000;
    clock_format_rfc3339(clock_wall_ns(), 6, now, sizeof(now));
    json_t *spec = json_pack("{s:s,s:I,s:s,s:I}", "holderIdentity", holder, "leaseDurationSeconds",
                             (json_int_t)seconds, "renewTime", now, "leaseTransitions",
                             (json_int_t)(e->transitions + taken));
    if (fresh || taken) {
        json_object_set_new(spec, "acquireTime", json_string(now));
    }
    if (fresh) {
        return json_pack("{s:s,s:s,s:{s:s,s:s},s:o}", "apiVersion", "coordination.k8s.io/v1",
                         "kind", "Lease", "metadata", "name", e->name, "namespace", e->ns, "spec",
                         spec);
    }
    return json_pack("{s:{s:s},s:o}", "metadata", "resourceVersion", e->lease.version, "spec",
                     spec);
}

static void on_written(void *arg, json_t *object, const struct error *err)
{
    struct elector *e = arg;
    if (err != NULL && !e->closing && err->code != ERR_CONFLICT && err->code != ERR_EXISTS) {
        LOG_WARN("cannot write the lease", LOG_STR("lease", e->name), LOG_ERR(err));
    }
    lease_answered(&e->lease, err == NULL ? jpeek_cstr(object, "metadata.resourceVersion") : NULL);
    if (err != NULL && !e->closing) {
        look(e);
    }
    if (!e->closing) {
        turn(e);
    } else if (err == NULL) {
        elector_close(e, NULL, NULL); /* taken after all: give it back */
    }
    drop(e);
}

static void write_lease(struct elector *e, bool fresh)
{
    struct error err = {0};
    CLEANUP(jfree) json_t *body = body_of(e, e->lease.identity, fresh);
    struct kube_call call = {
        .kind = lease_kind,
        .ns = e->ns,
        .name = fresh ? NULL : e->name,
        .body = body,
        .timeout_ms = e->lease.settings.deadline_ms,
        .cb = on_written,
        .arg = e,
    };
    lease_sent(&e->lease, loop_now_ms(e->loop));
    if ((fresh ? kube_create : kube_patch)(e->client, &call, NULL, &err) < 0) {
        LOG_WARN("cannot write the lease", LOG_STR("lease", e->name), LOG_ERR(&err));
        lease_answered(&e->lease, NULL);
        return;
    }
    e->n_open++;
}

static void tell(struct elector *e)
{
    if (e->told == e->lease.leading) {
        return;
    }
    e->told = e->lease.leading;
    LOG_INFO("leadership", LOG_BOOL("leads", e->told), LOG_STR("lease", e->name),
             LOG_STR("identity", e->lease.identity));
    e->on_change(e->arg, e->told);
}

/* Does what the table says until there is nothing to do for now. */
static void turn(struct elector *e)
{
    uint64_t wait_ms = 0;
    if (e->closing) {
        return;
    }
    enum lease_action action = lease_next(&e->lease, loop_now_ms(e->loop), &wait_ms);
    if (action == LEASE_LOST) {
        lease_drop(&e->lease);
        action = lease_next(&e->lease, loop_now_ms(e->loop), &wait_ms);
    }
    if (action == LEASE_CREATE || action == LEASE_WRITE) {
        write_lease(e, action == LEASE_CREATE);
        action = lease_next(&e->lease, loop_now_ms(e->loop), &wait_ms);
    }
    timer_start(&e->timer, random_jitter_ms(wait_ms + 1, JITTER_PERCENT));
    tell(e);
}

static void on_timer(struct timer *timer)
{
    turn(timer->data);
}

/* --- life ---------------------------------------------------------------------------------- */

static char *identity_of(const char *given)
{
    char host[HOST_MAX] = "unknown";
    if (given != NULL && given[0] != '\0') {
        return xstrdup(given);
    }
    (void)!gethostname(host, sizeof(host) - 1);
    return xasprintf("%s-%d", host, (int)getpid());
}

int elector_start(const struct elector_options *options, struct elector **out, struct error *err)
{
    char selector[300];
    uint64_t duration_ms =
        options->duration_ms < DURATION_MIN_MS ? DURATION_MIN_MS : options->duration_ms;
    struct lease_settings settings = lease_settings_of(duration_ms);
    struct elector *e = NEW(struct elector);
    e->client = options->client;
    e->loop = kube_client_loop(options->client);
    e->ns = xstrdup(options->ns);
    e->name = xstrdup(options->name);
    e->on_change = options->on_change;
    e->arg = options->arg;
    CLEANUP(cleanup_free) char *identity = identity_of(options->identity);
    lease_init(&e->lease, &settings, identity);
    timer_init(&e->timer, e->loop, on_timer, e);
    snprintf(selector, sizeof(selector), "metadata.name=%s", e->name);
    struct kube_cache_options cache = {
        .kind = lease_kind,
        .ns = e->ns,
        .field_selector = selector,
        .value_size = sizeof(struct lease_value),
        .project = project,
        .release = release,
        .on_add = on_event,
        .on_update = on_updated,
        .on_delete = on_event,
        .on_synced = on_synced,
        .arg = e,
    };
    e->n_open = 1;
    int rc = kube_cache_start(e->client, &cache, &e->cache, err);
    if (rc < 0) {
        elector_close(e, NULL, NULL);
        return rc;
    }
    e->n_open++;
    *out = e;
    return 0;
}

bool elector_leads(const struct elector *e)
{
    return e != NULL && e->told;
}

const char *elector_leader(const struct elector *e)
{
    return e == NULL ? "" : e->lease.holder;
}

static void drop(struct elector *e)
{
    if (--e->n_open > 0) {
        return;
    }
    void (*cb)(void *arg) = e->close_cb;
    void *arg = e->close_arg;
    free(e->ns);
    free(e->name);
    free(e);
    if (cb != NULL) {
        cb(arg);
    }
}

static void on_cache_closed(void *arg)
{
    drop(arg);
}

static void on_timer_closed(struct timer *timer)
{
    drop(timer->data);
}

static void on_given_back(void *arg, json_t *object, const struct error *err)
{
    struct elector *e = arg;
    (void)object;
    if (err != NULL && err->code != ERR_CONFLICT && err->code != ERR_CANCELED) {
        LOG_WARN("cannot give the lease back", LOG_STR("lease", e->name), LOG_ERR(err));
    }
    drop(e);
}

static void give_back(struct elector *e)
{
    struct error err = {0};
    CLEANUP(jfree) json_t *body = body_of(e, "", false);
    struct kube_call call = {
        .kind = lease_kind,
        .ns = e->ns,
        .name = e->name,
        .body = body,
        .timeout_ms = GIVE_BACK_MS,
        .cb = on_given_back,
        .arg = e,
    };
    e->giving_back = true;
    if (kube_patch(e->client, &call, NULL, &err) == 0) {
        e->n_open++;
    }
}

/* A write that is under way is waited for: if it succeeds, the lease is given back then. */
void elector_close(struct elector *e, void (*cb)(void *arg), void *arg)
{
    if (e == NULL) {
        if (cb != NULL) {
            cb(arg);
        }
        return;
    }
    bool first = !e->closing;
    if (e->lease.leading && !e->lease.writing && !e->giving_back) {
        give_back(e);
    }
    if (!first) {
        return;
    }
    e->closing = true;
    e->close_cb = cb;
    e->close_arg = arg;
    timer_close(&e->timer, on_timer_closed);
    if (e->cache != NULL) {
        kube_cache_close(e->cache, on_cache_closed, e);
    }
}
