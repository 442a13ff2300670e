// SPDX-License-Identifier: Apache-2.0
/* The signatures of web hooks, and the events that are made of them. */
#include "base/mem.h"
#include "json/jparse.h"
#include "broker/hook_event.h"
#include "broker/signature.h"
#include "test.h"

#define HELLO  "Hello, World!"
#define SECRET "It's a Secret to Everybody"
#define GOOD   "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
/* HMAC-SHA256 of "1492774577.{}" with "whsec_test" */
#define STRIPE "0d0602f6611bd2252dd4b74b58a4528355a7380639a15e6cc21e3059d56d5b8b"
#define BASE64 "dXEH6g6yUJ/CESIczphLijdXC211hsIsRvQ3nIsEPhc="

static const struct slice SECRETS[] = {{"", 0}, {"older", 5}, {SECRET, sizeof(SECRET) - 1}};

static int check(const struct signature_rule *rule, const char *value, const char *body,
                 struct error *err)
{
    struct slice header = value == NULL ? (struct slice){0} : slice_str(value);
    *err = (struct error){0};
    return signature_check(rule, header, slice_str(body), SECRETS, ARRAY_LEN(SECRETS), 1492774600,
                           err);
}

static void github(void **state)
{
    static const struct signature_rule rule = {.scheme = SIGNATURE_GITHUB};
    struct error err;
    assert_string_equal(signature_header(&rule), "X-Hub-Signature-256");
    ASSERT_OK(check(&rule, "sha256=" GOOD, HELLO, &err));
    ASSERT_OK(check(&rule,
                    " sha256=757107EA0EB2509FC211221CCE984B8A37570B6D7586C22C46F4379C8B043E17 ",
                    HELLO, &err));
    static const char *const bad[] = {
        "",           GOOD,
        "sha1=" GOOD, "sha256=" GOOD "00",
        "sha256=",    "sha256=zz7107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ASSERT_ERR(ERR_UNAUTHORIZED, check(&rule, bad[i], HELLO, &err));
    }
    ASSERT_ERR(ERR_UNAUTHORIZED, check(&rule, NULL, HELLO, &err));
    ASSERT_MSG("no header X-Hub-Signature-256");
    ASSERT_ERR(ERR_UNAUTHORIZED, check(&rule, "sha256=" GOOD, HELLO " ", &err));
    ASSERT_MSG("fits none");
    /* The signature with no secret is one that everybody can make. */
    ASSERT_ERR(ERR_UNAUTHORIZED, signature_check(&rule, slice_str("sha256=" GOOD), slice_str(HELLO),
                                                 SECRETS, 2, 0, &err));
    ASSERT_ERR(ERR_UNAUTHORIZED,
               check(&rule,
                     "sha256=b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad", "",
                     &err));
}

static void stripe(void **state)
{
    static const struct signature_rule rule = {.scheme = SIGNATURE_STRIPE, .tolerance_s = 300};
    static const struct slice secret = {"whsec_test", 10};
    struct error err = {0};
    struct slice value = slice_str("t=1492774577,v1=" GOOD ",v0=x,v1=" STRIPE);
    ASSERT_OK(signature_check(&rule, value, slice_str("{}"), &secret, 1, 1492774577 + 300, &err));
    ASSERT_OK(signature_check(&rule, value, slice_str("{}"), &secret, 1, 1492774577 - 300, &err));
    ASSERT_ERR(ERR_UNAUTHORIZED,
               signature_check(&rule, value, slice_str("{}"), &secret, 1, 1492774577 + 301, &err));
    ASSERT_MSG("301 s ago");
    ASSERT_ERR(ERR_UNAUTHORIZED,
               signature_check(&rule, value, slice_str("{}"), &secret, 1, 1492774577 - 301, &err));
    ASSERT_ERR(ERR_UNAUTHORIZED,
               signature_check(&rule, value, slice_str("{ }"), &secret, 1, 1492774577, &err));
    static const char *const bad[] = {"",
                                      "t=1",
                                      "v1=" STRIPE,
                                      "t=,v1=" STRIPE,
                                      "t=-1,v1=" STRIPE,
                                      "t=1492774577,v0=" STRIPE,
                                      "t=1492774577,t=1492774577,v1=" STRIPE,
                                      "t=99999999999999999999,v1=" STRIPE,
                                      "t=1492774577 ,v1=" STRIPE "0",
                                      "t=1492774577,v1=" GOOD ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD
                                      ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD
                                      ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD ",v1=" GOOD
                                      ",v1=" GOOD ",v1=" GOOD ",v1=" STRIPE};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ASSERT_ERR(ERR_UNAUTHORIZED, signature_check(&rule, slice_str(bad[i]), slice_str("{}"),
                                                     &secret, 1, 1492774577, &err));
    }
}

static void generic(void **state)
{
    struct signature_rule rule = {.scheme = SIGNATURE_GENERIC, .header = "X-Sign", .prefix = "v="};
    struct error err;
    ASSERT_OK(check(&rule, "v=" GOOD, HELLO, &err));
    ASSERT_ERR(ERR_UNAUTHORIZED, check(&rule, GOOD, HELLO, &err));
    ASSERT_MSG("does not begin with v=");
    rule.prefix = "";
    rule.base64 = true;
    ASSERT_OK(check(&rule, BASE64, HELLO, &err));
    ASSERT_ERR(ERR_UNAUTHORIZED, check(&rule, GOOD, HELLO, &err));
    rule.scheme = SIGNATURE_NONE;
    ASSERT_OK(check(&rule, NULL, HELLO, &err));
    assert_int_equal(signature_scheme_of(SLICE_LIT("stripe")), SIGNATURE_STRIPE);
    assert_int_equal(signature_scheme_of(SLICE_LIT("gitlab")), SIGNATURE_SCHEMES);
}

/* --- events -------------------------------------------------------------------------------- */

static void read_hook(const char *spec, struct webhook_object *out)
{
    CLEANUP(jfree) json_t *json = NULL;
    CLEANUP(cleanup_free)
    char *text = xasprintf("{\"metadata\":{\"namespace\":\"ns\",\"name\":\"h\"},\"spec\":%s,"
                           "\"status\":{\"sinkUri\":\"http://s/\"}}",
                           spec);
    struct error err = {0};
    ASSERT_OK(jparse(slice_str(text), 65536, &json, &err));
    *out = (struct webhook_object){0};
    ASSERT_OK(webhook_object_project(NULL, json, out, &err));
}

struct hook_row {
    const char *spec, *header, *value, *header2, *value2, *body;
    const char *type, *id, *source; /* type NULL: no event, and source is what is said */
};

#define OWN "/apis/sources.lull.dev/v1alpha1/namespaces/ns/webhooksources/h"

static const struct hook_row HOOKS[] = {
    {"{\"signature\":{\"scheme\":\"github\"}}", "X-GitHub-Event", "push", "x-github-delivery",
     "d-1", "{\"repository\":{\"url\":\"https://api/r\"}}", "com.github.push", "d-1",
     "https://api/r"},
    {"{\"signature\":{\"scheme\":\"github\"}}", "X-GitHub-Event", "issues", "X-GitHub-Delivery",
     "d-2", "{\"action\":\"opened\"}", "com.github.issues.opened", "d-2", OWN},
    {"{\"signature\":{\"scheme\":\"github\"},\"event\":{\"source\":\"/mine\",\"type\":\"t\"}}",
     "X-GitHub-Event", "push", "X-GitHub-Delivery", "d-3",
     "{\"repository\":{\"url\":\"https://api/r\"}}", "t", "d-3", "/mine"},
    {"{\"signature\":{\"scheme\":\"github\"}}", "X-GitHub-Event", "ping", "X-GitHub-Delivery",
     "d-4", "payload=%7B%7D", "com.github.ping", "d-4", OWN},
    {"{\"signature\":{\"scheme\":\"github\"}}", "A", "b", "C", "d", "{}", NULL, NULL,
     "no header X-GitHub-Event"},
    {"{\"signature\":{\"scheme\":\"github\"}}", "X-GitHub-Event", "a\x01z", "X-GitHub-Delivery",
     "d", "{}", NULL, NULL, "type"},
    {"{\"signature\":{\"scheme\":\"stripe\"}}", "A", "b", "C", "d",
     "{\"id\":\"evt_1\",\"type\":\"charge.paid\",\"created\":1492774577}", "com.stripe.charge.paid",
     "evt_1", OWN},
    {"{\"signature\":{\"scheme\":\"stripe\"}}", "A", "b", "C", "d", "[]", NULL, NULL,
     "no id or type"},
    {"{\"signature\":{\"scheme\":\"none\"},\"event\":{\"typeHeader\":\"X-Kind\",\"idField\":\"a."
     "b\"}}",
     "X-Kind", "k", "C", "d", "{\"a\":{\"b\":\"7\"}}", "k", "7", OWN},
    {"{\"signature\":{\"scheme\":\"none\"},\"event\":{\"idField\":\"a..[b\"}}", "X-Kind", "k", "C",
     "d", "{\"a\":{\"b\":\"7\"}}", NULL, NULL, "has no text a..[b"},
    {"{\"signature\":{\"scheme\":\"none\"},\"event\":{\"idHeader\":\"X-No\"}}", "A", "b", "C", "d",
     "{}", NULL, NULL, "no header X-No"},
};

static void events(void **state)
{
    for (size_t i = 0; i < ARRAY_LEN(HOOKS); i++) {
        const struct hook_row *row = &HOOKS[i];
        struct http_header room[4];
        struct http_head head;
        struct webhook_object hook;
        struct event ev;
        struct error err = {0};
        http_head_init(&head, room, ARRAY_LEN(room));
        ASSERT_OK(http_head_add(&head, slice_str(row->header), slice_str(row->value)));
        ASSERT_OK(http_head_add(&head, slice_str(row->header2), slice_str(row->value2)));
        ASSERT_OK(http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("application/json")));
        read_hook(row->spec, &hook);
        int rc = hook_event(&hook, &head, slice_str(row->body), 0, &ev, &err);
        if (row->type == NULL) {
            ASSERT_ERR(ERR_INVALID, rc);
            ASSERT_MSG(row->source);
        } else {
            ASSERT_OK(rc);
            assert_true(slice_eq_str(ev.known[EVENT_TYPE], row->type));
            assert_true(slice_eq_str(ev.known[EVENT_ID], row->id));
            assert_true(slice_eq_str(ev.known[EVENT_SOURCE], row->source));
            assert_true(slice_eq_str(ev.known[EVENT_DATACONTENTTYPE], "application/json"));
            assert_true(slice_eq_str(ev.data, row->body));
        }
        event_fini(&ev);
        webhook_object_release(NULL, &hook);
    }
}

/* Others than media types, and what is set in every event. */
static void odd_events(void **state)
{
    struct http_header room[4];
    struct http_head head;
    struct webhook_object hook;
    struct event ev;
    struct error err = {0};
    read_hook(
        "{\"signature\":{\"scheme\":\"none\"},\"ceOverrides\":{\"extensions\":{\"team\":\"a\"}}}",
        &hook);
    http_head_init(&head, room, ARRAY_LEN(room));
    ASSERT_OK(http_head_add(&head, SLICE_LIT("Content-Type"), SLICE_LIT("not a type")));
    ASSERT_OK(hook_event(&hook, &head, SLICE_LIT("\xff\n"), 0, &ev, &err));
    assert_true(slice_eq_str(ev.known[EVENT_DATACONTENTTYPE], "application/octet-stream"));
    assert_true(slice_eq_str(ev.known[EVENT_TYPE], HOOK_TYPE));
    assert_true(slice_eq_str(event_extension(&ev, SLICE_LIT("team"))->value, "a"));
    assert_int_equal(ev.known[EVENT_ID].len, 32);
    event_fini(&ev);
    webhook_object_release(NULL, &hook);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(github), cmocka_unit_test(stripe),     cmocka_unit_test(generic),
        cmocka_unit_test(events), cmocka_unit_test(odd_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
