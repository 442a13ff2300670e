// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: two maps. A broker's record is made by the Broker or by the first Trigger that names it,
 * and goes with the last of both; only while the API has the Broker itself does it take events.
 */
#include "broker/model.h"

#include <stdlib.h>

#include "base/mem.h"

static char *path_of(const char *ns, const char *name)
{
    return xasprintf("%s/%s", ns, name);
}

struct broker *worker_broker(const struct worker *w, struct slice path)
{
    struct broker *b = map_get(&w->brokers, path);
    return b != NULL && b->known ? b : NULL;
}

/* --- brokers ------------------------------------------------------------------------------- */

void broker_ref(struct broker *b)
{
    b->refs++;
}

void broker_unref(struct broker *b)
{
    if (--b->refs > 0) {
        return;
    }
    if (map_get(&b->worker->brokers, slice_str(b->path)) == b) {
        map_remove(&b->worker->brokers, slice_str(b->path));
    }
    payload_set_fini(&b->payloads);
    index_fini(&b->index);
    free(b->dead_letter);
    free(b->born);
    free(b->born_key);
    free(b->events_key);
    free(b->triggers_key);
    free(b->ns);
    free(b->name);
    free(b->path);
    free(b);
}

/* A count for the caller. */
static struct broker *make_broker(struct worker *w, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *path = path_of(ns, name);
    struct broker *b = map_get(&w->brokers, slice_str(path));
    if (b != NULL) {
        broker_ref(b);
        return b;
    }
    b = NEW(struct broker);
    b->worker = w;
    b->ns = xstrdup(ns);
    b->name = xstrdup(name);
    b->path = xstrdup(path);
    b->born = xstrdup("");
    b->born_key = stream_key(ns, name, "born");
    b->events_key = stream_key(ns, name, "events");
    b->triggers_key = stream_key(ns, name, "triggers");
    b->batch = 1;
    b->refs = 1;
    list_init(&b->triggers);
    payload_set_init(&b->payloads, &w->payloads);
    index_init(&b->index);
    map_set(&w->brokers, slice_str(b->path), b);
    return b;
}

static void triggers_changed(struct broker *b)
{
    b->index_stale = true;
    list_foreach (node, &b->triggers) {
        trigger_dirty(LIST_ENTRY(node, struct trigger, link));
    }
}

/* A message that is under way names the old subscriber's text: those calls begin anew. */
static void restart_sends(struct trigger *t)
{
    list_foreach (node, &t->deliveries) {
        struct delivery *d = LIST_ENTRY(node, struct delivery, link);
        if (d->state == DELIVERY_SENDING) {
            send_cancel(&d->send);
            send_fini(&d->send);
            event_fini(&d->shown);
            d->state = DELIVERY_READY;
        }
    }
}

void worker_put_broker(struct worker *w, const char *ns, const char *name,
                       struct broker_object *value)
{
    struct broker *b = make_broker(w, ns, name);
    bool is_new = !b->known;
    b->known = true;
    b->has_policy = value->has_delivery;
    b->policy = value->policy;
    free(b->born);
    b->born = value->born;
    if (same_text(b->dead_letter, value->dead_letter)) {
        free(value->dead_letter); /* calls under way may name the old one */
    } else {
        list_foreach (node, &b->triggers) {
            restart_sends(LIST_ENTRY(node, struct trigger, link));
        }
        free(b->dead_letter);
        b->dead_letter = value->dead_letter;
    }
    *value = (struct broker_object){0};
    triggers_changed(b);
    if (is_new) {
        LOG_INFO("broker", LOG_STR("broker", b->path));
        upkeep_broker(b);
        list_foreach (node, &b->triggers) {
            upkeep_trigger(LIST_ENTRY(node, struct trigger, link)); /* it may have been deleted */
        }
    } else {
        broker_unref(b);
    }
}

void worker_remove_broker(struct worker *w, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *path = path_of(ns, name);
    struct broker *b = worker_broker(w, slice_str(path));
    if (b != NULL) {
        LOG_INFO("broker is deleted, and its events with it", LOG_STR("broker", b->path));
        b->known = false;
        leftover_drop_broker(b);
        broker_unref(b);
    }
}

/* --- triggers ------------------------------------------------------------------------------ */

const struct retry_policy *trigger_policy(const struct trigger *t)
{
    return t->object.has_delivery || !t->broker->has_policy ? &t->object.policy
                                                            : &t->broker->policy;
}

const char *trigger_dead_letter(const struct trigger *t)
{
    return t->object.dead_letter != NULL ? t->object.dead_letter : t->broker->dead_letter;
}

void trigger_ref(struct trigger *t)
{
    t->refs++;
}

void trigger_unref(struct trigger *t)
{
    if (--t->refs > 0) {
        return;
    }
    REQUIRE(t->gone && list_empty(&t->deliveries));
    trigger_object_release(NULL, &t->object);
    broker_unref(t->broker);
    free(t->key);
    free(t->retry_key);
    free(t->held_key);
    free(t->dead_key);
    free(t->ns);
    free(t->name);
    free(t->uid);
    free(t->path);
    free(t);
}

static void drop_deliveries(struct trigger *t)
{
    list_foreach_safe (node, &t->deliveries) {
        delivery_free(LIST_ENTRY(node, struct delivery, link));
    }
}

/* Takes it out of the model. */
static void forget_trigger(struct trigger *t)
{
    map_remove(&t->worker->triggers, slice_str(t->path));
    list_remove(&t->link);
    list_remove(&t->dirty);
    t->broker->n_triggers--;
    t->broker->n_ordered -= t->object.ordered;
    trigger_missing(t, false);
    t->broker->index_stale = true;
    t->broker->touched = true; /* what only it had not done may be trimmed */
    t->gone = true;
    drop_deliveries(t);
    trigger_unref(t);
}

static struct trigger *make_trigger(struct worker *w, const char *ns, const char *name,
                                    const char *uid, const char *broker)
{
    struct trigger *t = NEW(struct trigger);
    t->worker = w;
    t->broker = make_broker(w, ns, broker);
    t->load_most = 1;
    t->ns = xstrdup(ns);
    t->name = xstrdup(name);
    t->uid = xstrdup(uid);
    t->path = path_of(ns, name);
    t->key = stream_trigger_key(ns, broker, uid, "");
    t->retry_key = stream_trigger_key(ns, broker, uid, ":retry");
    t->held_key = stream_trigger_key(ns, broker, uid, ":held");
    t->dead_key = stream_trigger_key(ns, broker, uid, ":dead");
    t->due_ms = UINT64_MAX;
    t->refs = 1;
    list_init(&t->dirty);
    list_init(&t->deliveries);
    list_init(&t->settling);
    list_push_back(&t->broker->triggers, &t->link);
    t->broker->n_triggers++;
    trigger_missing(t, true);
    map_set(&w->triggers, slice_str(t->path), t);
    return t;
}

static void use_object(struct trigger *t, struct trigger_object *value)
{
    if (value->ordered != t->object.ordered) {
        t->broker->n_ordered += value->ordered ? 1 : (size_t)-1;
        t->swept = false;
    }
    trigger_object_release(NULL, &t->object);
    t->object = *value;
    *value = (struct trigger_object){0};
    t->trouble = (struct error){0};
    t->ready = false;
    if (t->object.filter == NULL) {
        error_copy(&t->trouble, t->object.err);
    } else if (t->object.subscriber == NULL) {
        error_set(&t->trouble, ERR_NOT_FOUND, "the address of its subscriber is not known yet");
    } else {
        t->ready = target_parse(slice_str(t->object.subscriber), &t->target, &t->trouble) == 0;
    }
    t->entry.filter = t->object.filter;
}

void worker_put_trigger(struct worker *w, const char *ns, const char *name, const char *uid,
                        struct trigger_object *value)
{
    CLEANUP(cleanup_free) char *path = path_of(ns, name);
    struct trigger *t = map_get(&w->triggers, slice_str(path));
    if (t != NULL && (strcmp(t->uid, uid) != 0 || strcmp(t->broker->name, value->broker) != 0)) {
        leftover_drop_trigger(t);
        forget_trigger(t);
        t = NULL;
    }
    bool is_new = t == NULL;
    if (is_new) {
        t = make_trigger(w, ns, name, uid, value->broker);
    } else if (!same_text(t->object.subscriber, value->subscriber) ||
               !same_text(t->object.dead_letter, value->dead_letter)) {
        restart_sends(t);
    } else {
        /* The texts are equal; those that calls under way name stay. */
        char *subscriber = value->subscriber;
        char *dead_letter = value->dead_letter;
        value->subscriber = t->object.subscriber;
        value->dead_letter = t->object.dead_letter;
        t->object.subscriber = subscriber;
        t->object.dead_letter = dead_letter;
    }
    use_object(t, value);
    t->broker->index_stale = true;
    if (is_new) {
        LOG_INFO("trigger", LOG_STR("trigger", t->path), LOG_STR("broker", t->broker->path));
        upkeep_trigger(t);
    }
    trigger_dirty(t);
}

void worker_remove_trigger(struct worker *w, const char *ns, const char *name)
{
    CLEANUP(cleanup_free) char *path = path_of(ns, name);
    struct trigger *t = map_get(&w->triggers, slice_str(path));
    if (t != NULL) {
        LOG_INFO("trigger is deleted", LOG_STR("trigger", t->path));
        leftover_drop_trigger(t);
        forget_trigger(t);
    }
}

void worker_forget(struct worker *w)
{
    map_foreach (it, &w->triggers) {
        forget_trigger(it.value);
    }
    map_foreach (jt, &w->brokers) {
        struct broker *b = jt.value;
        if (b->known) {
            b->known = false;
            broker_unref(b);
        }
    }
}
