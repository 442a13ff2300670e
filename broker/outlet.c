// SPDX-License-Identifier: Apache-2.0
/* Plan: the objects that the API would show for it, without an API. */
#include "broker/outlet.h"

#include "base/mem.h"

#define PACKED_MAX (2u << 20)
#define WHY_MAX    8192
/* Who retries passes over these: they must be read quickly. */
#define STUCK_DATA_MAX 16384

/* Every event goes to the sink. */
static struct filter *take_all(void)
{
    struct filter *f = NULL;
    json_t *spec = json_object();
    int rc = filter_compile(spec, &f, NULL);
    json_decref(spec);
    REQUIRE(rc == 0);
    return f;
}

void outlet_use(struct worker *w, const struct outlet *o)
{
    const struct source_common *c = o->common;
    struct broker_object broker = {.born = xasprintf(" %s", o->uid)};
    struct trigger_object trigger = {
        .broker = xstrdup(o->name),
        .subscriber = c->sink == NULL ? NULL : xstrdup(c->sink),
        .dead_letter = c->dead_letter == NULL ? NULL : xstrdup(c->dead_letter),
        .has_delivery = true,
        .policy = c->policy,
        .filter = take_all(),
        .no_replies = true,
    };
    worker_put_broker(w, o->ns, o->name, &broker);
    worker_put_trigger(w, o->ns, o->name, o->uid, &trigger);
    broker_object_release(NULL, &broker);
    trigger_object_release(NULL, &trigger); /* what the model did not take */
}

void outlet_drop(struct worker *w, const char *ns, const char *name)
{
    worker_remove_trigger(w, ns, name);
    worker_remove_broker(w, ns, name);
}

char *outlet_ns(const char *kind, const char *ns)
{
    return xasprintf(OUTLET_ROOT "%s/%s", kind, ns);
}

bool outlet_split(const char *outlet_ns, struct slice *out_kind, struct slice *out_ns)
{
    struct slice rest = slice_str(outlet_ns);
    if (!slice_starts_with(rest, SLICE_LIT(OUTLET_ROOT))) {
        return false;
    }
    rest = slice_sub(rest, sizeof(OUTLET_ROOT) - 1, rest.len);
    if (!slice_split(&rest, '/', out_kind) || slice_empty(rest)) {
        return false;
    }
    *out_ns = rest;
    return true;
}

/* --- for sources that push ----------------------------------------------------------------- */

static struct trigger *trigger_of(const struct outlet_ref *o)
{
    CLEANUP(cleanup_free) char *path = xasprintf("%s/%s", o->ns, o->name);
    return map_get(&o->worker->triggers, slice_str(path));
}

void outlet_tried(void *arg, const struct error *failed)
{
    const struct outlet_ref *o = arg;
    struct trigger *t = trigger_of(o);
    if (t == NULL) {
        return;
    }
    if (failed == NULL) {
        t->counters.delivered++;
        o->worker->counters.delivered++;
        t->trouble = (struct error){0};
    } else {
        t->counters.failed++;
        o->worker->counters.failed++;
        error_copy(&t->trouble, failed);
    }
}

void outlet_holds(const struct outlet_ref *o, unsigned n)
{
    struct trigger *t = trigger_of(o);
    if (t != NULL) {
        t->held_outside = n;
    }
}

/* As settle.c writes it; when it was accepted nobody knows. On the connection that waits for
 * replicas: when it is there its source gives it up. */
int outlet_bury(const struct outlet_ref *o, const struct push *p, bool again, redis_conn_cb cb,
                void *arg, struct error *err)
{
    struct worker *w = o->worker;
    struct trigger *t = trigger_of(o);
    char most[24];
    if (t == NULL) {
        return error_set(err, ERR_NOT_FOUND, "the source %s/%s is not known", o->ns, o->name);
    }
    CLEANUP(strbuf_fini) struct strbuf packed;
    CLEANUP(strbuf_fini) struct strbuf why;
    strbuf_init(&packed, PACKED_MAX);
    strbuf_init(&why, WHY_MAX);
    event_pack(&p->event, &packed);
    strbuf_appendf(&why, "- %d %s %s", p->code, p->said == NULL ? "" : p->said, p->why.msg);
    snprintf(most, sizeof(most), "%lld", (long long)w->config->dead_kept);
    struct slice args[14] = {
        SLICE_LIT("XADD"), slice_str(t->dead_key), SLICE_LIT("MAXLEN"), SLICE_LIT("~"),
        slice_str(most),   SLICE_LIT("*"),         SLICE_LIT("e"),      strbuf_slice(&packed),
        SLICE_LIT("x"),    strbuf_slice(&why),
    };
    size_t n = 10;
    if (p->event.data.ptr != NULL && (again || p->event.data.len <= STUCK_DATA_MAX)) {
        args[n++] = SLICE_LIT("d");
        args[n++] = p->event.data;
    }
    if (!again) {
        args[n++] = SLICE_LIT("n");
        args[n++] = SLICE_LIT("1");
    }
    int rc = redis_conn_send(w->in, args, n, cb, arg, err);
    if (rc == 0) {
        t->counters.dead++;
        w->counters.dead++;
    }
    return rc;
}
