// SPDX-License-Identifier: Apache-2.0
/* API calls against a scripted server: paths, errors, conflict retry, the blocking form. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "kube/client.h"
#include "kube/event.h"
#include "kube/warning.h"
#include "fake_api.h"
#include "test.h"

struct world {
    struct loop loop;
    struct fake_api api;
    struct kube_client *client;
    bool closed;
};

struct got {
    int done;
    int code;
    char msg[ERROR_MSG_MAX];
    json_t *object;
};

static const struct kube_kind pods = {"", "v1", "pods"};
static const struct kube_kind ksvc = {"serving.knative.dev", "v1", "services"};

static void on_got(void *arg, json_t *object, const struct error *err)
{
    struct got *got = arg;
    got->done++;
    got->object = json_incref(object);
    if (err != NULL) {
        assert_null(object);
        got->code = (int)err->code;
        snprintf(got->msg, sizeof(got->msg), "%s", err->msg);
    }
}

static void got_clear(struct got *got)
{
    json_decref(got->object);
    *got = (struct got){0};
}

static void on_closed(void *arg)
{
    struct world *w = arg;
    w->closed = true;
}

static void world_start(struct world *w, const struct fake_step *steps, size_t n)
{
    struct error err = {0};
    *w = (struct world){0};
    ASSERT_OK(loop_init(&w->loop, &err));
    fake_api_start(&w->api, &w->loop, steps, n);
    struct kube_config config = {.server = w->api.url, .token = xstrdup(" tok\n")};
    ASSERT_OK(kube_client_new(&w->loop, &config, NULL, &w->client, &err));
    free(config.token);
}

static void world_end(struct world *w)
{
    struct error err = {0};
    kube_client_close(w->client, on_closed, w);
    RUN_UNTIL(&w->loop, w->closed);
    fake_api_close(&w->api);
    loop_run(&w->loop);
    ASSERT_OK(loop_fini(&w->loop, &err));
    assert_false(w->api.unexpected);
    fake_api_free(&w->api);
}

static void paths(void **state)
{
    (void)state;
    static const struct {
        struct kube_call call;
        const char *want;
    } rows[] = {
        {{.kind = {"", "v1", "pods"}}, "/api/v1/pods"},
        {{.kind = {"", "v1", "namespaces"}, .name = "x"}, "/api/v1/namespaces/x"},
        {{.kind = {"apps", "v1", "deployments"}, .ns = "a", .name = "b", .subresource = "scale"},
         "/apis/apps/v1/namespaces/a/deployments/b/scale"},
        {{.kind = {"", "v1", "pods"},
          .ns = "a",
          .label_selector = "a.b/c=d,e",
          .limit = 5,
          .field_selector = "metadata.name=x"},
         "/api/v1/namespaces/a/pods?labelSelector=a.b%2Fc%3Dd%2Ce&fieldSelector=metadata.name%3Dx"
         "&limit=5"},
        {{.kind = {"", "v1", "pods"}, .ns = "../x", .name = "a b", .dry_run = true},
         "/api/v1/namespaces/..%2Fx/pods/a%20b?dryRun=All"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char *path = kube_path(&rows[i].call);
        assert_string_equal(path, rows[i].want);
        free(path);
    }
}

static void verbs_and_errors(void **state)
{
    (void)state;
#define STATUS(code, reason, text) \
    "{\"kind\":\"Status\",\"code\":" #code ",\"reason\":\"" reason "\",\"message\":\"" text "\"}"
    static const struct fake_step steps[] = {
        {"GET /apis/serving.knative.dev/v1/namespaces/default/services/hello", 200, "{\"a\":1}"},
        {"GET ", 404, STATUS(404, "NotFound", "services \\\"x\\\" not found")},
        {"POST /apis/serving.knative.dev/v1/namespaces/default/services", 409,
         STATUS(409, "AlreadyExists", "there")},
        {"PUT ", 409, STATUS(409, "Conflict", "stale")},
        {"PATCH ", 422, STATUS(422, "Invalid", "bad")},
        {"DELETE ", 200, STATUS(200, "", "")},
        {"GET ", 410, STATUS(410, "Expired", "old")},
        {"GET ", 503, "<html>"},
        {"GET ", 200, "no json"},
        {"GET ", 0}, /* on a connection that was kept: tried once more on a new one */
        {"GET ", 0},
    };
    struct world w;
    struct got got = {0};
    struct error err = {0};
    CLEANUP(jfree) json_t *body = json_pack("{s:s}", "kind", "Service");
    struct kube_call call = {
        .kind = ksvc, .ns = "default", .name = "hello", .cb = on_got, .arg = &got};
    struct kube_call all = {.kind = ksvc, .ns = "default", .cb = on_got, .arg = &got};
    world_start(&w, steps, ARRAY_LEN(steps));
#define EXPECT(start, want, text)               \
    do {                                        \
        got_clear(&got);                        \
        ASSERT_OK(start);                       \
        RUN_UNTIL(&w.loop, got.done);           \
        assert_int_equal(got.code, want);       \
        assert_non_null(strstr(got.msg, text)); \
    } while (0)
    EXPECT(kube_get(w.client, &call, NULL, &err), ERR_OK, "");
    assert_int_equal(jpeek_i64(got.object, "a"), 1);
    assert_non_null(strstr(w.api.heads[0], "Authorization: Bearer tok"));
    EXPECT(kube_get(w.client, &call, NULL, &err), ERR_NOT_FOUND, "services \"x\" not found");
    call.body = body;
    all.body = body;
    EXPECT(kube_create(w.client, &all, NULL, &err), ERR_EXISTS, "there");
    assert_string_equal(w.api.bodies[2], "{\"kind\":\"Service\"}");
    EXPECT(kube_update(w.client, &call, NULL, &err), ERR_CONFLICT, "stale");
    EXPECT(kube_patch(w.client, &call, NULL, &err), ERR_INVALID, "bad");
    assert_non_null(strstr(w.api.heads[4], "application/merge-patch+json"));
    EXPECT(kube_delete(w.client, &call, NULL, &err), ERR_OK, "");
    all.body = NULL;
    EXPECT(kube_list(w.client, &all, NULL, &err), ERR_GONE, "old");
    EXPECT(kube_list(w.client, &all, NULL, &err), ERR_UNAVAILABLE, "503: <html>");
    EXPECT(kube_list(w.client, &all, NULL, &err), ERR_PROTOCOL, "no JSON");
    EXPECT(kube_list(w.client, &all, NULL, &err), ERR_CLOSED, "list /apis");
    got_clear(&got);
    world_end(&w);
}

static void on_warned(void *arg, const char *text)
{
    strbuf_appendf(arg, "%s|", text);
}

static void warnings_are_told(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {"GET ", 200, "{}",
         .head = "Warning: 299 - \"one\"\r\nX: 1\r\nWarning: 299 - \"two, \\\"2\\\"\"\r\n"},
        {"GET ", 404, "{}", .head = "Warning: 299 - \"three\"\r\n"},
        {"GET ", 200, "{}"},
    };
    struct world w;
    struct got got = {0};
    struct error err = {0};
    CLEANUP(strbuf_fini) struct strbuf told;
    strbuf_init(&told, 4096);
    world_start(&w, steps, ARRAY_LEN(steps));
    struct kube_config config = {.server = w.api.url};
    struct kube_client_options options = {.on_warning = on_warned, .warning_arg = &told};
    struct kube_client *client = NULL;
    ASSERT_OK(kube_client_new(&w.loop, &config, &options, &client, &err));
    struct kube_call call = {
        .kind = ksvc, .ns = "default", .name = "hello", .cb = on_got, .arg = &got};
    for (size_t i = 0; i < ARRAY_LEN(steps); i++) {
        got_clear(&got);
        ASSERT_OK(kube_get(client, &call, NULL, &err));
        RUN_UNTIL(&w.loop, got.done);
    }
    assert_string_equal(told.ptr, "one|two, \"2\"|three|");
    got_clear(&got);
    kube_client_close(client, NULL, NULL);
    world_end(&w);
}

static void warnings_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *header, *first;
    } rows[] = {
        {"299 - \"a\"", "a"},
        {"299 - \"a\" \"Sun, 06 Nov 1994 08:49:37 GMT\"", "a"},
        {"199 host:80 \"tab\there\"", "tab here"},
        {"299 - \"\"", ""},
        {"299 - \"longer than the room\"", "longer than the"},
        {"299 - \"no end", NULL},
        {"299 - \"ends in \\", NULL},
        {"299", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char buf[16];
        struct slice rest = slice_str(rows[i].header);
        bool there = warning_next(&rest, buf, sizeof(buf));
        assert_int_equal(there, rows[i].first != NULL);
        if (there) {
            assert_string_equal(buf, rows[i].first);
        }
    }
}

static int change_spec(void *arg, json_t *object, struct error *err)
{
    int *runs = arg;
    (void)err;
    ++*runs;
    return json_object_set_new(object, "spec", json_integer(*runs));
}

struct change {
    struct got got;
    int runs;
};

static void on_changed(void *arg, json_t *object, const struct error *err)
{
    struct change *c = CONTAINER_OF(arg, struct change, runs);
    on_got(&c->got, object, err);
}

static void conflict_is_tried_again(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {
        {"GET /api/v1/namespaces/n/pods/p", 200, "{\"v\":1}"},
        {"PUT /api/v1/namespaces/n/pods/p/status", 409, STATUS(409, "Conflict", "stale")},
        {"GET /api/v1/namespaces/n/pods/p", 200, "{\"v\":2}"},
        {"PUT /api/v1/namespaces/n/pods/p/status", 200, "{\"v\":3}"},
    };
    struct world w;
    struct change c = {.runs = 0};
    struct error err = {0};
    world_start(&w, steps, ARRAY_LEN(steps));
    struct kube_call call = {.kind = pods,
                             .ns = "n",
                             .name = "p",
                             .subresource = "status",
                             .cb = on_changed,
                             .arg = &c.runs};
    ASSERT_OK(kube_retry_on_conflict(w.client, &call, change_spec, NULL, &err));
    RUN_UNTIL(&w.loop, c.got.done);
    assert_int_equal(c.got.code, ERR_OK);
    assert_int_equal(c.runs, 2);
    assert_string_equal(w.api.bodies[1], "{\"v\":1,\"spec\":1}");
    assert_string_equal(w.api.bodies[3], "{\"v\":2,\"spec\":2}");
    got_clear(&c.got);
    world_end(&w);
}

static void sync_and_cancel(void **state)
{
    (void)state;
    static const struct fake_step steps[] = {{"GET ", 200, "{\"a\":1}"},
                                             {"GET ", 404, STATUS(404, "NotFound", "none")},
                                             {"POST /api/v1/namespaces/n/events", 201, "{}"},
                                             {"GET ", .hang = true}};
    struct world w;
    struct got got = {0};
    struct error err = {0};
    world_start(&w, steps, ARRAY_LEN(steps));
    struct kube_call call = {.kind = pods, .ns = "n", .name = "p"};
    CLEANUP(jfree) json_t *object = NULL;
    ASSERT_OK(kube_call_sync(w.client, kube_get, &call, &object, &err));
    assert_int_equal(jpeek_i64(object, "a"), 1);
    ASSERT_ERR(ERR_NOT_FOUND, kube_call_sync(w.client, kube_get, &call, NULL, &err));
    ASSERT_MSG("none");

    struct kube_event event = {.api_version = "v1",
                               .kind = "Pod",
                               .ns = "n",
                               .name = "p",
                               .warning = true,
                               .reason = "Broken",
                               .message = "it \"broke\"",
                               .component = "test"};
    kube_event_post(w.client, &event);
    RUN_UNTIL(&w.loop, w.api.n_requests == 3);
    assert_non_null(strstr(w.api.bodies[2], "\"reason\":\"Broken\""));
    assert_non_null(strstr(w.api.bodies[2], "it \\\"broke\\\""));

    struct kube_request *req = NULL;
    call.cb = on_got;
    call.arg = &got;
    ASSERT_OK(kube_get(w.client, &call, &req, &err));
    RUN_UNTIL(&w.loop, w.api.n_requests == 4);
    kube_cancel(req);
    assert_int_equal(got.done, 0);
    RUN_UNTIL(&w.loop, got.done);
    assert_int_equal(got.code, ERR_CANCELED);
    world_end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths),
        cmocka_unit_test(verbs_and_errors),
        cmocka_unit_test(warnings_are_told),
        cmocka_unit_test(warnings_are_read),
        cmocka_unit_test(conflict_is_tried_again),
        cmocka_unit_test(sync_and_cancel),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
