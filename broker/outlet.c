// SPDX-License-Identifier: Apache-2.0
/* Plan: the objects that the API would show for it, without an API. */
#include "broker/outlet.h"

#include "base/mem.h"

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
    struct broker_object broker = {.born = xasprintf(" %s", o->uid)};
    struct trigger_object trigger = {
        .broker = xstrdup(o->name),
        .subscriber = o->sink == NULL ? NULL : xstrdup(o->sink),
        .dead_letter = o->dead_letter == NULL ? NULL : xstrdup(o->dead_letter),
        .has_delivery = true,
        .policy = o->policy,
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
