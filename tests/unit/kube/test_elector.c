// SPDX-License-Identifier: Apache-2.0
/* An elector against a scripted API: takes, renews, loses, gives back. */
#include "base/mem.h"
#include "kube/elector.h"
#include "fake_api.h"
#include "test.h"

#define LEASES "/apis/coordination.k8s.io/v1/namespaces/sys/leases"
#define LIST(items) \
    "{\"kind\":\"LeaseList\",\"metadata\":{\"resourceVersion\":\"5\"},\"items\":[" items "]}"
#define LEASE(holder, version)                                                                  \
    "{\"metadata\":{\"name\":\"part\",\"namespace\":\"sys\",\"uid\":\"u\",\"resourceVersion\":" \
    "\"" version "\"},\"spec\":{\"holderIdentity\":\"" holder "\",\"leaseDurationSeconds\":1}}"

struct world {
    struct loop loop;
    struct fake_api api;
    struct kube_client *client;
    struct elector *elector;
    unsigned begun, ended;
    bool closed;
    char last[512]; /* body of the last request */
};

static void on_change(void *arg, bool leads)
{
    struct world *w = arg;
    w->begun += leads;
    w->ended += !leads;
    assert_int_equal(elector_leads(w->elector), leads);
}

static void begin(struct world *w, const struct fake_step *steps, size_t n)
{
    struct error err;
    struct kube_config config = {0};
    *w = (struct world){0};
    ASSERT_OK(loop_init(&w->loop, &err));
    fake_api_start(&w->api, &w->loop, steps, n);
    config.server = w->api.url;
    ASSERT_OK(kube_client_new(&w->loop, &config, NULL, &w->client, &err));
    struct elector_options options = {.client = w->client,
                                      .ns = "sys",
                                      .name = "part",
                                      .identity = "me",
                                      .duration_ms = 1000,
                                      .on_change = on_change,
                                      .arg = w};
    ASSERT_OK(elector_start(&options, &w->elector, &err));
}

static void on_closed(void *arg)
{
    ((struct world *)arg)->closed = true;
}

static void end(struct world *w)
{
    struct error err;
    elector_close(w->elector, on_closed, w);
    RUN_UNTIL(&w->loop, w->closed);
    w->closed = false;
    kube_client_close(w->client, on_closed, w);
    RUN_UNTIL(&w->loop, w->closed);
    fake_api_close(&w->api);
    loop_run(&w->loop);
    ASSERT_OK(loop_fini(&w->loop, &err));
    assert_false(w->api.unexpected);
    snprintf(w->last, sizeof(w->last), "%s", w->api.bodies[w->api.n_requests - 1]);
    fake_api_free(&w->api);
}

static void takes_renews_and_gives_back(void **state)
{
    static const struct fake_step steps[] = {
        {"GET " LEASES "?", 200, LIST("")},
        {"POST " LEASES, 201, LEASE("me", "6")},
        {"GET " LEASES "?", 200, .stream = true},
        {"PATCH " LEASES "/part", 200, LEASE("me", "7")},
        {"PATCH " LEASES "/part", 200, LEASE("", "8")},
    };
    struct world w;
    begin(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, w.begun == 1);
    assert_non_null(strstr(w.api.bodies[1], "\"holderIdentity\":\"me\""));
    RUN_UNTIL(&w.loop, w.api.n_requests == 4);
    assert_non_null(strstr(w.api.bodies[3], "\"resourceVersion\":\"6\""));
    RUN_UNTIL(&w.loop, w.api.n_requests == 4);
    assert_int_equal(w.ended, 0);
    end(&w);
    assert_int_equal(w.api.n_requests, 5);
    assert_non_null(strstr(w.last, "\"holderIdentity\":\"\""));
}

static void waits_and_takes_what_is_given_back(void **state)
{
    static const struct fake_step steps[] = {
        {"GET " LEASES "?", 200, LIST(LEASE("other", "4"))},
        {"GET " LEASES "?", 200, .stream = true},
        {"PATCH " LEASES "/part", 200, LEASE("me", "9")},
        {"PATCH " LEASES "/part", 409, "{\"kind\":\"Status\",\"reason\":\"Conflict\"}"},
    };
    struct world w;
    begin(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, w.api.stream != NULL);
    assert_string_equal(elector_leader(w.elector), "other");
    fake_api_send(&w.api, "{\"type\":\"MODIFIED\",\"object\":" LEASE("", "8") "}\n");
    RUN_UNTIL(&w.loop, w.begun == 1);
    assert_non_null(strstr(w.api.bodies[2], "\"resourceVersion\":\"8\""));
    assert_non_null(strstr(w.api.bodies[2], "\"leaseTransitions\":1"));
    /* Taken from us by hand: we stop at once, and give nothing back. */
    fake_api_send(&w.api, "{\"type\":\"MODIFIED\",\"object\":" LEASE("third", "10") "}\n");
    RUN_UNTIL(&w.loop, w.ended == 1);
    size_t asked = w.api.n_requests;
    end(&w);
    assert_true(w.api.n_requests - asked <= 1); /* a renewal may have been on its way */
}

static void stops_leading_when_it_cannot_renew(void **state)
{
    static const struct fake_step steps[] = {
        {"GET " LEASES "?", 200, LIST("")},
        {"POST " LEASES, 201, LEASE("me", "6")},
        {"GET " LEASES "?", 200, .stream = true},
        {"PATCH " LEASES "/part", 500, "{\"kind\":\"Status\"}"},
        {"PATCH " LEASES "/part", 500, "{\"kind\":\"Status\"}"},
        {"PATCH " LEASES "/part", 200, LEASE("me", "7")},
        {"PATCH " LEASES "/part", 200, LEASE("me", "8")},
        {"PATCH " LEASES "/part", 200, LEASE("me", "9")},
        {"PATCH " LEASES "/part", 200, LEASE("me", "10")},
        {"PATCH " LEASES "/part", 200, LEASE("me", "11")},
        {"PATCH " LEASES "/part", 200, LEASE("me", "12")},
    };
    struct world w;
    begin(&w, steps, ARRAY_LEN(steps));
    RUN_UNTIL(&w.loop, w.begun == 1 && w.api.stream != NULL);
    fake_api_send(&w.api, "{\"type\":\"ADDED\",\"object\":" LEASE("me", "6") "}\n");
    RUN_UNTIL(&w.loop, w.ended == 1);
    RUN_UNTIL(&w.loop, w.begun == 2);
    end(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(takes_renews_and_gives_back),
        cmocka_unit_test(waits_and_takes_what_is_given_back),
        cmocka_unit_test(stops_leading_when_it_cannot_renew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
