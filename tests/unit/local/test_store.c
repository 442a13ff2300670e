// SPDX-License-Identifier: Apache-2.0
/* The store on a real loop and a real database: conflicts, watches, history, restart, owners. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "local/store.h"
#include "test.h"
#include "test_loop.h"

static const struct store_kind kinds[] = {
    {.resource = "pods",
     .api_version = "v1",
     .kind = "Pod",
     .namespaced = true,
     .status = true,
     .fields = {"status.phase", "spec.nodeName"}},
    {.resource = "deployments.apps",
     .api_version = "apps/v1",
     .kind = "Deployment",
     .namespaced = true,
     .status = true,
     .generation = true},
    {.resource = "namespaces", .api_version = "v1", .kind = "Namespace", .status = true},
    {.resource = "events",
     .api_version = "v1",
     .kind = "Event",
     .namespaced = true,
     .keep_newest = 5},
};

/* --- helpers ------------------------------------------------------------------------------- */

struct outcome {
    bool done;
    int rc;
    struct error err;
    uint64_t version;
    int64_t generation;
    char uid[64];
    bool deleting;
};

static void on_done(int rc, struct object *o, const struct error *err, void *arg)
{
    struct outcome *out = arg;
    assert_false(out->done);
    out->done = true;
    out->rc = rc;
    if (rc < 0) {
        out->err = *err;
        return;
    }
    out->version = o->version;
    out->generation = o->generation;
    out->deleting = o->deleting;
    snprintf(out->uid, sizeof(out->uid), "%s", o->uid);
}

static struct store *open_store(struct loop *loop, const char *path, uint32_t history)
{
    struct store_options options = {
        .path = path, .kinds = kinds, .kinds_count = ARRAY_LEN(kinds), .history_max = history};
    struct store *s;
    struct error err;
    ASSERT_OK(store_open(&s, loop, &options, &err));
    return s;
}

static void on_closed(void *arg)
{
    *(bool *)arg = true;
}

static void close_store(struct loop *loop, struct store *s)
{
    bool closed = false;
    store_close(s, on_closed, &closed);
    LOOP_UNTIL(loop, closed);
}

static json_t *tree(const char *text)
{
    json_error_t problem;
    json_t *t = json_loads(text, 0, &problem);
    assert_non_null(t);
    return t;
}

static struct outcome create(struct loop *loop, struct store *s, const char *resource,
                             const char *text)
{
    struct outcome out = {0};
    struct error err;
    json_t *body = tree(text);
    const char *ns = strcmp(resource, "namespaces") == 0 ? "" : "default";
    ASSERT_OK(store_create(s, resource, ns, body, STORE_USER, on_done, &out, &err));
    json_decref(body);
    assert_false(out.done);
    LOOP_UNTIL(loop, out.done);
    assert_int_equal(out.rc, 0);
    return out;
}

static struct outcome patch(struct loop *loop, struct store *s, const char *resource,
                            const char *name, enum store_sub sub, const char *text)
{
    struct outcome out = {0};
    struct error err;
    json_t *body = tree(text);
    ASSERT_OK(
        store_patch(s, resource, "default", name, sub, body, STORE_MACHINE, on_done, &out, &err));
    json_decref(body);
    LOOP_UNTIL(loop, out.done);
    assert_int_equal(out.rc, 0);
    return out;
}

static struct outcome drop(struct loop *loop, struct store *s, const char *resource,
                           const char *name, const struct store_delete_options *o)
{
    struct outcome out = {0};
    struct error err;
    ASSERT_OK(store_delete(s, resource, "default", name, o, STORE_MACHINE, on_done, &out, &err));
    LOOP_UNTIL(loop, out.done);
    assert_int_equal(out.rc, 0);
    return out;
}

static struct store *open_with_namespace(struct loop *loop, const char *path, uint32_t history)
{
    struct store *s = open_store(loop, path, history);
    create(loop, s, "namespaces", "{\"metadata\":{\"name\":\"default\"}}");
    return s;
}

#define DEPLOYMENT(name) "{\"metadata\":{\"name\":\"" name "\"},\"spec\":{\"replicas\":0}}"

/* --- watches ------------------------------------------------------------------------------- */

struct seen {
    char text[4096]; /* "A:name M:name D:name G " */
    uint64_t last;
    bool stop; /* return false after the next event */
    struct store_watch *close_in_callback;
};

static bool on_event(const struct store_event *e, void *arg)
{
    static const char letters[] = "AMDG";
    struct seen *seen = arg;
    size_t n = strlen(seen->text);
    snprintf(seen->text + n, sizeof(seen->text) - n, "%c:%s ", letters[e->type],
             e->object == NULL ? "" : e->object->name);
    assert_true(e->version > seen->last || e->type == STORE_GONE);
    seen->last = e->version;
    if (seen->close_in_callback != NULL) {
        store_watch_close(seen->close_in_callback);
        seen->close_in_callback = NULL;
    }
    return !seen->stop;
}

static struct store_watch *watch(struct store *s, const struct store_selector *sel, uint64_t from,
                                 struct seen *seen)
{
    struct store_watch *w;
    struct error err;
    ASSERT_OK(store_watch_start(s, sel, from, on_event, seen, &w, &err));
    return w;
}

/* --- tests --------------------------------------------------------------------------------- */

static void writes_are_visible_when_complete(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct outcome out = {0};
    struct error err;
    json_t *body = tree(DEPLOYMENT("a"));
    ASSERT_OK(
        store_create(s, "deployments.apps", "default", body, STORE_MACHINE, on_done, &out, &err));
    assert_null(store_get(s, "deployments.apps", "default", "a"));
    ASSERT_ERR(ERR_EXISTS, store_create(s, "deployments.apps", "default", body, STORE_MACHINE,
                                        on_done, &out, &err));
    assert_string_equal(err.msg, "deployments.apps \"a\" already exists");
    json_decref(body);
    LOOP_UNTIL(loop, out.done);
    struct object *o = store_get(s, "deployments.apps", "default", "a");
    assert_non_null(o);
    assert_int_equal(o->version, store_version(s));
    assert_int_equal(o->generation, 1);
    assert_int_equal(strlen(o->uid), 36);
    ASSERT_ERR(ERR_NOT_FOUND,
               store_delete(s, "pods", "default", "x", NULL, STORE_USER, on_done, &out, &err));
    assert_string_equal(err.msg, "pods \"x\" not found");
    close_store(loop, s);
}

static void generation_counts_wishes_only(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct outcome a = create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    struct outcome b = patch(loop, s, "deployments.apps", "a", STORE_SUB_STATUS,
                             "{\"status\":{\"replicas\":1},\"spec\":{\"replicas\":9}}");
    assert_true(b.version > a.version);
    assert_int_equal(b.generation, 1);
    json_t *t = object_parse(store_get(s, "deployments.apps", "default", "a"));
    assert_int_equal(jpeek_i64(t, "status.replicas"), 1);
    assert_int_equal(jpeek_i64(t, "spec.replicas"), 0);
    json_decref(t);
    b = patch(loop, s, "deployments.apps", "a", STORE_SUB_NONE,
              "{\"spec\":{\"replicas\":2},\"status\":null}");
    assert_int_equal(b.generation, 2);
    t = object_parse(store_get(s, "deployments.apps", "default", "a"));
    assert_int_equal(jpeek_i64(t, "status.replicas"), 1);
    json_decref(t);
    b = patch(loop, s, "deployments.apps", "a", STORE_SUB_NONE,
              "{\"metadata\":{\"labels\":{\"x\":\"y\"}}}");
    assert_int_equal(b.generation, 2);
    struct outcome same =
        patch(loop, s, "deployments.apps", "a", STORE_SUB_NONE, "{\"spec\":{\"replicas\":2}}");
    assert_int_equal(same.version, b.version);
    close_store(loop, s);
}

static void two_writers_one_wins(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    json_t *body = object_parse(store_get(s, "deployments.apps", "default", "a"));
    struct outcome first = {0}, second = {0};
    struct error err;
    json_object_set_new(json_object_get(body, "spec"), "replicas", json_integer(1));
    ASSERT_OK(store_update(s, "deployments.apps", "default", "a", STORE_SUB_NONE, body, STORE_USER,
                           on_done, &first, &err));
    /* The first is still on its way: the second is checked against it all the same. */
    ASSERT_ERR(ERR_CONFLICT, store_update(s, "deployments.apps", "default", "a", STORE_SUB_NONE,
                                          body, STORE_USER, on_done, &second, &err));
    ASSERT_MSG("the object has been modified; please apply your changes to the latest version");
    json_decref(body);
    LOOP_UNTIL(loop, first.done);
    assert_false(second.done);
    close_store(loop, s);
}

static void a_race_of_increments_loses_nothing(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    int won = 0, conflicts = 0;
    struct error err;
    for (int i = 0; i < 10000; i++) {
        /* Two writers read the same version; each adds one; exactly one of them may. */
        struct outcome out[2] = {{0}, {0}};
        json_t *body = object_parse(store_get(s, "deployments.apps", "default", "a"));
        json_int_t n = jpeek_i64(body, "spec.replicas");
        json_object_set_new(json_object_get(body, "spec"), "replicas", json_integer(n + 1));
        for (int w = 0; w < 2; w++) {
            int rc = store_update(s, "deployments.apps", "default", "a", STORE_SUB_NONE, body,
                                  STORE_MACHINE, on_done, &out[w], &err);
            won += rc == 0 ? 1 : 0;
            conflicts += rc == ERR_CONFLICT ? 1 : 0;
        }
        json_decref(body);
        LOOP_UNTIL(loop, out[0].done);
    }
    json_t *t = object_parse(store_get(s, "deployments.apps", "default", "a"));
    assert_int_equal(jpeek_i64(t, "spec.replicas"), 10000);
    json_decref(t);
    assert_int_equal(won, 10000);
    assert_int_equal(conflicts, 10000);
    close_store(loop, s);
}

static void watches_see_what_their_selector_selects(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct seen all = {0}, labelled = {0}, fields = {0};
    uint64_t from = store_version(s);
    struct store_watch *w1 = watch(s, &(struct store_selector){.resource = "pods"}, from, &all);
    struct store_watch *w2 =
        watch(s, &(struct store_selector){.resource = "pods", .labels = "app=x"}, from, &labelled);
    struct store_watch *w3 =
        watch(s, &(struct store_selector){.resource = "pods", .fields = "status.phase=Running"},
              from, &fields);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"p\"},\"status\":{\"phase\":\"Pending\"}}");
    patch(loop, s, "pods", "p", STORE_SUB_NONE, "{\"metadata\":{\"labels\":{\"app\":\"x\"}}}");
    patch(loop, s, "pods", "p", STORE_SUB_STATUS, "{\"status\":{\"phase\":\"Running\"}}");
    patch(loop, s, "pods", "p", STORE_SUB_NONE, "{\"metadata\":{\"labels\":null}}");
    drop(loop, s, "pods", "p", NULL);
    assert_string_equal(all.text, "A:p M:p M:p M:p D:p ");
    assert_string_equal(labelled.text, "A:p M:p D:p ");
    assert_string_equal(fields.text, "A:p M:p D:p ");
    assert_int_equal(store_watch_version(w2), store_version(s));
    store_watch_close(w1);
    store_watch_close(w2);
    store_watch_close(w3);
    close_store(loop, s);
}

static void watches_resume_pause_and_close_in_a_callback(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    uint64_t from = store_version(s);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"a\"}}");
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"b\"}}");
    struct store_selector sel = {.resource = "pods"};
    struct seen seen = {.stop = true};
    struct store_watch *w = watch(s, &sel, from, &seen);
    assert_string_equal(seen.text, "");
    LOOP_UNTIL(loop, seen.text[0] != '\0');
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"c\"}}");
    assert_string_equal(seen.text, "A:a ");
    seen.stop = false;
    store_watch_resume(w);
    LOOP_UNTIL(loop, strcmp(seen.text, "A:a A:b A:c ") == 0);
    seen.close_in_callback = w;
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"d\"}}");
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"e\"}}");
    assert_string_equal(seen.text, "A:a A:b A:c A:d ");
    close_store(loop, s);
}

/* While a start is under way, patient watches wait; then they hear everything, in order. */
static void patient_watches_wait_for_a_start(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct store_watch *w[3];
    struct seen seen[3] = {{.text = ""}};
    for (int i = 0; i < 3; i++) {
        w[i] = watch(s, &(struct store_selector){.resource = "pods"}, store_version(s), &seen[i]);
        store_watch_set_patience(w[i], (enum store_patience)i);
    }
    store_hold(s, STORE_SOON, 10000);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"a\"}}");
    assert_string_equal(seen[STORE_AT_ONCE].text, "A:a ");
    assert_string_equal(seen[STORE_SOON].text, "");
    store_hold(s, STORE_PATIENT, 10000);
    LOOP_UNTIL(loop, seen[STORE_SOON].text[0] != '\0');
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"b\"}}");
    assert_string_equal(seen[STORE_SOON].text, "A:a A:b ");
    /* Not for ever, however often it is asked for. */
    for (int i = 0; seen[STORE_PATIENT].text[0] == '\0'; i++) {
        store_hold(s, STORE_PATIENT, 1 + i % 8);
        (void)loop_turn(loop, false);
    }
    assert_string_equal(seen[STORE_PATIENT].text, "A:a A:b ");
    for (int i = 0; i < 3; i++) {
        store_watch_close(w[i]);
    }
    close_store(loop, s);
}

static void history_is_bounded(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 8);
    uint64_t from = store_version(s);
    struct store_selector sel = {.resource = "pods"};
    struct seen slow = {.stop = true};
    struct store_watch *w = watch(s, &sel, from, &slow);
    for (int i = 0; i < 20; i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p%d\"}}", i);
        create(loop, s, "pods", text);
    }
    assert_string_equal(slow.text, "A:p0 ");
    store_watch_resume(w);
    LOOP_UNTIL(loop, strcmp(slow.text, "A:p0 G: ") == 0);
    store_watch_close(w);
    struct error err;
    ASSERT_ERR(ERR_GONE, store_watch_start(s, &sel, from, on_event, &slow, &w, &err));
    ASSERT_MSG("too old resource version");
    ASSERT_ERR(ERR_GONE,
               store_watch_start(s, &sel, store_version(s) + 1, on_event, &slow, &w, &err));
    close_store(loop, s);
}

struct names {
    char text[256];
};

static bool add_name(struct object *o, void *arg)
{
    struct names *n = arg;
    size_t len = strlen(n->text);
    snprintf(n->text + len, sizeof(n->text) - len, "%s ", o->name);
    return true;
}

static void lists_are_sorted_and_paged(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"b\",\"labels\":{\"app\":\"x\"}}}");
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"a-1\"}}");
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"a\",\"labels\":{\"app\":\"y\"}}}");
    struct names n = {""};
    struct error err;
    ASSERT_OK(store_list(s, &(struct store_selector){.resource = "pods"}, add_name, &n, &err));
    assert_string_equal(n.text, "a a-1 b ");
    n.text[0] = '\0';
    ASSERT_OK(store_list_after(s, &(struct store_selector){.resource = "pods"}, "default", "a",
                               add_name, &n, &err));
    assert_string_equal(n.text, "a-1 b ");
    n.text[0] = '\0';
    ASSERT_OK(store_list(
        s, &(struct store_selector){.resource = "pods", .ns = "default", .labels = "app in (x,y)"},
        add_name, &n, &err));
    assert_string_equal(n.text, "a b ");
    n.text[0] = '\0';
    ASSERT_OK(store_list(s, &(struct store_selector){.resource = "pods", .ns = "other"}, add_name,
                         &n, &err));
    assert_string_equal(n.text, "");
    close_store(loop, s);
}

static void a_restart_keeps_everything(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "lull.db");
    struct store *s = open_with_namespace(loop, path, 0);
    struct outcome a = create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    create(loop, s, "deployments.apps", DEPLOYMENT("b"));
    drop(loop, s, "deployments.apps", "b", NULL);
    uint64_t version = store_version(s);
    close_store(loop, s);
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);

    s = open_store(loop, path, 0);
    assert_int_equal(store_version(s), version); /* also that of the deletion, the last write */
    struct object *o = store_get(s, "deployments.apps", "default", "a");
    assert_non_null(o);
    assert_string_equal(o->uid, a.uid);
    assert_int_equal(o->version, a.version);
    assert_null(store_get(s, "deployments.apps", "default", "b"));
    struct outcome c = create(loop, s, "deployments.apps", DEPLOYMENT("c"));
    assert_true(c.version > version);

    struct store *other;
    struct error err;
    struct store_options options = {.path = path, .kinds = kinds, .kinds_count = ARRAY_LEN(kinds)};
    ASSERT_ERR(ERR_IN_USE, store_open(&other, loop, &options, &err));
    close_store(loop, s);
    free(path);
    test_dir_remove(dir);
}

static void a_bad_database_is_refused(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "lull.db");
    struct store_options options = {.path = path, .kinds = kinds, .kinds_count = ARRAY_LEN(kinds)};
    struct store *s;
    struct error err;
    char garbage[8192];
    memset(garbage, 'x', sizeof(garbage));
    ASSERT_OK(fs_write_atomic(path, slice_of(garbage, sizeof(garbage)), 0600, &err));
    ASSERT_ERR(ERR_IO, store_open(&s, loop, &options, &err));
    ASSERT_MSG("damaged");
    ASSERT_MSG("start again with an empty state");
    unlink(path);
    options.path = "/nonexistent/lull.db";
    assert_true(store_open(&s, loop, &options, &err) < 0);
    ASSERT_MSG("/nonexistent/lull.db");
    free(path);
    test_dir_remove(dir);
}

/* The disk is full (here: the file may not grow): the write fails, and later ones work again. */
static void a_full_disk_fails_the_write_only(void **state)
{
    struct loop *loop = *state;
    char *dir = test_dir();
    char *path = fs_join(dir, "lull.db");
    struct store *s = open_with_namespace(loop, path, 0);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"before\"}}");
    struct store_watch *w;
    struct seen seen = {0};
    w = watch(s, &(struct store_selector){.resource = "pods"}, store_version(s), &seen);

    struct rlimit limit, small;
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    small = limit;
    small.rlim_cur = 4096;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    struct outcome out[3] = {{0}, {0}, {0}};
    struct error err;
    json_t *body = tree("{\"metadata\":{\"name\":\"lost\"}}");
    ASSERT_OK(store_create(s, "pods", "default", body, STORE_USER, on_done, &out[0], &err));
    /* Behind it, and checked against it: these fail with it, or are refused when it has failed. */
    json_t *change = tree("{\"spec\":{\"x\":1}}");
    static const char *const names[] = {"lost", "before"};
    for (size_t i = 0; i < 2; i++) {
        int rc = store_patch(s, "pods", "default", names[i], STORE_SUB_NONE, change, STORE_MACHINE,
                             on_done, &out[i + 1], &err);
        if (rc < 0) {
            out[i + 1] = (struct outcome){.done = true, .rc = rc};
        }
    }
    json_decref(change);
    LOOP_UNTIL(loop, out[0].done && out[1].done && out[2].done);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(out[i].rc, ERR_UNAVAILABLE);
    }
    assert_null(store_get(s, "pods", "default", "lost"));
    assert_string_equal(seen.text, "");

    struct outcome again = {0};
    ASSERT_OK(store_create(s, "pods", "default", body, STORE_USER, on_done, &again, &err));
    json_decref(body);
    LOOP_UNTIL(loop, again.done);
    assert_int_equal(again.rc, 0);
    patch(loop, s, "pods", "before", STORE_SUB_NONE, "{\"spec\":{\"x\":2}}");
    assert_string_equal(seen.text, "A:lost M:before ");
    store_watch_close(w);
    close_store(loop, s);
    s = open_store(loop, path, 0);
    assert_int_equal(store_count(s, "pods"), 2);
    close_store(loop, s);
    free(path);
    test_dir_remove(dir);
}

#define OWNED(name, uid)                                                                     \
    "{\"metadata\":{\"name\":\"" name "\",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\"," \
    "\"kind\":\"Deployment\",\"name\":\"a\",\"uid\":\"%s\"}]}}"

static void owned_objects_follow_their_owner(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct outcome a = create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    char text[400];
    snprintf(text, sizeof(text), OWNED("p", "%s"), a.uid);
    create(loop, s, "pods", text);
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"free\"}}");
    drop(loop, s, "deployments.apps", "a", NULL);
    LOOP_UNTIL(loop, store_get(s, "pods", "default", "p") == NULL);
    assert_non_null(store_get(s, "pods", "default", "free"));
    /* One that comes too late goes as well. */
    snprintf(text, sizeof(text), OWNED("late", "%s"), a.uid);
    create(loop, s, "pods", text);
    LOOP_UNTIL(loop, store_get(s, "pods", "default", "late") == NULL);
    close_store(loop, s);
}

static void orphans_stay_when_asked(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct outcome a = create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    char text[400];
    snprintf(text, sizeof(text), OWNED("p", "%s"), a.uid);
    create(loop, s, "pods", text);
    drop(loop, s, "deployments.apps", "a",
         &(struct store_delete_options){.grace_s = -1, .propagation = STORE_ORPHAN});
    create(loop, s, "pods", "{\"metadata\":{\"name\":\"later\"}}");
    struct object *o = store_get(s, "pods", "default", "p");
    assert_non_null(o);
    json_t *t = object_parse(o);
    assert_null(jget(t, "metadata.ownerReferences"));
    json_decref(t);
    close_store(loop, s);
}

static void the_foreground_waits_for_what_is_owned(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    struct store_delete_options foreground = {.grace_s = -1, .propagation = STORE_FOREGROUND};
    struct outcome a = create(loop, s, "deployments.apps", DEPLOYMENT("a"));
    char text[500];
    snprintf(text, sizeof(text), OWNED("p", "%s"), a.uid);
    create(loop, s, "pods", text);
    snprintf(text, sizeof(text),
             "{\"metadata\":{\"name\":\"slow\",\"ownerReferences\":[{\"apiVersion\":\"apps/v1\","
             "\"kind\":\"Deployment\",\"name\":\"a\",\"uid\":\"%s\",\"blockOwnerDeletion\":true}]"
             "},\"spec\":{\"nodeName\":\"n\"}}",
             a.uid);
    create(loop, s, "pods", text);
    struct outcome out = drop(loop, s, "deployments.apps", "a", &foreground);
    assert_true(out.deleting);
    LOOP_UNTIL(loop, store_get(s, "pods", "default", "slow")->deleting);
    assert_non_null(store_get(s, "deployments.apps", "default", "a"));
    drop(loop, s, "pods", "slow", &(struct store_delete_options){.grace_s = 0});
    LOOP_UNTIL(loop, store_get(s, "deployments.apps", "default", "a") == NULL);
    /* What nobody waits for follows. */
    LOOP_UNTIL(loop, store_get(s, "pods", "default", "p") == NULL);
    /* Nothing to wait for: it goes at once. */
    create(loop, s, "deployments.apps", DEPLOYMENT("b"));
    drop(loop, s, "deployments.apps", "b", &foreground);
    assert_null(store_get(s, "deployments.apps", "default", "b"));
    close_store(loop, s);
}

static void finalizers_and_grace_hold_an_object(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    create(loop, s, "deployments.apps",
           "{\"metadata\":{\"name\":\"a\",\"finalizers\":[\"x/y\"]},\"spec\":{}}");
    struct outcome out = drop(loop, s, "deployments.apps", "a", NULL);
    assert_true(out.deleting);
    assert_non_null(store_get(s, "deployments.apps", "default", "a"));
    patch(loop, s, "deployments.apps", "a", STORE_SUB_NONE, "{\"metadata\":{\"finalizers\":null}}");
    assert_null(store_get(s, "deployments.apps", "default", "a"));

    create(loop, s, "pods", "{\"metadata\":{\"name\":\"p\"},\"spec\":{\"nodeName\":\"n\"}}");
    out = drop(loop, s, "pods", "p", NULL);
    assert_true(out.deleting);
    json_t *t = object_parse(store_get(s, "pods", "default", "p"));
    assert_int_equal(jpeek_i64(t, "metadata.deletionGracePeriodSeconds"), 30);
    json_decref(t);
    patch(loop, s, "pods", "p", STORE_SUB_STATUS, "{\"status\":{\"phase\":\"Running\"}}");
    assert_non_null(store_get(s, "pods", "default", "p"));
    drop(loop, s, "pods", "p", &(struct store_delete_options){.grace_s = 0});
    assert_null(store_get(s, "pods", "default", "p"));
    close_store(loop, s);
}

static void a_namespace_takes_its_content_along(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    for (int i = 0; i < 300; i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"p%d\"}}", i);
        create(loop, s, "pods", text);
    }
    struct outcome out = {0};
    struct error err;
    ASSERT_OK(store_delete(s, "namespaces", "", "default", NULL, STORE_USER, on_done, &out, &err));
    json_t *body = tree("{\"metadata\":{\"name\":\"new\"}}");
    ASSERT_ERR(ERR_DENIED,
               store_create(s, "pods", "default", body, STORE_USER, on_done, &out, &err));
    ASSERT_MSG("because it is being terminated");
    LOOP_UNTIL(loop, store_get(s, "namespaces", "", "default") == NULL);
    assert_int_equal(store_count(s, "pods"), 0);
    ASSERT_ERR(ERR_NOT_FOUND,
               store_create(s, "pods", "default", body, STORE_USER, on_done, &out, &err));
    json_decref(body);
    close_store(loop, s);
}

static void events_are_bounded(void **state)
{
    struct loop *loop = *state;
    struct store *s = open_with_namespace(loop, NULL, 0);
    for (int i = 0; i < 12; i++) {
        char text[80];
        snprintf(text, sizeof(text), "{\"metadata\":{\"name\":\"e%d\"}}", i);
        create(loop, s, "events", text);
    }
    LOOP_UNTIL(loop, store_count(s, "events") == 5);
    assert_null(store_get(s, "events", "default", "e6"));
    assert_non_null(store_get(s, "events", "default", "e7"));
    close_store(loop, s);
}

static void limits_have_answers(void **state)
{
    struct loop *loop = *state;
    struct store_options options = {.kinds = kinds,
                                    .kinds_count = ARRAY_LEN(kinds),
                                    .object_bytes_max = 1000,
                                    .pending_max = 2};
    struct store *s;
    struct error err;
    ASSERT_OK(store_open(&s, loop, &options, &err));
    struct outcome out[2] = {{0}, {0}};
    char name[8] = "n0";
    for (int i = 0; i < 2; i++) {
        name[1] = (char)('0' + i);
        json_t *body = json_pack("{s:{s:s}}", "metadata", "name", name);
        ASSERT_OK(store_create(s, "namespaces", "", body, STORE_USER, on_done, &out[i], &err));
        json_decref(body);
    }
    json_t *body = tree("{\"metadata\":{\"name\":\"n2\"}}");
    ASSERT_ERR(ERR_OVERLOAD,
               store_create(s, "namespaces", "", body, STORE_USER, on_done, &out[0], &err));
    LOOP_UNTIL(loop, out[0].done && out[1].done);
    char big[1200];
    memset(big, 'x', sizeof(big) - 1);
    big[sizeof(big) - 1] = '\0';
    json_object_set_new(body, "data", json_string(big));
    ASSERT_ERR(ERR_TOO_BIG,
               store_create(s, "namespaces", "", body, STORE_USER, on_done, &out[0], &err));
    json_decref(body);
    assert_int_equal(store_count(s, "namespaces"), 2);
    close_store(loop, s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)
    const struct CMUnitTest tests[] = {
        T(writes_are_visible_when_complete),
        T(generation_counts_wishes_only),
        T(two_writers_one_wins),
        T(a_race_of_increments_loses_nothing),
        T(watches_see_what_their_selector_selects),
        T(watches_resume_pause_and_close_in_a_callback),
        T(patient_watches_wait_for_a_start),
        T(history_is_bounded),
        T(lists_are_sorted_and_paged),
        T(a_restart_keeps_everything),
        T(a_bad_database_is_refused),
        T(a_full_disk_fails_the_write_only),
        T(owned_objects_follow_their_owner),
        T(orphans_stay_when_asked),
        T(the_foreground_waits_for_what_is_owned),
        T(finalizers_and_grace_hold_an_object),
        T(a_namespace_takes_its_content_along),
        T(events_are_bounded),
        T(limits_have_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
