// SPDX-License-Identifier: Apache-2.0
#include "queue-proxy/headers.h"
#include "test.h"

#define ROOM 24

struct pair {
    const char *name;
    const char *value;
};

static void build(struct http_head *h, struct http_header *room, const struct pair *pairs)
{
    http_head_init(h, room, ROOM);
    h->authority = SLICE_LIT("f.example.com");
    for (size_t i = 0; pairs[i].name != NULL; i++) {
        assert_int_equal(http_head_add(h, slice_str(pairs[i].name), slice_str(pairs[i].value)), 0);
    }
}

static void classifies(void **state)
{
    static const struct {
        struct pair pairs[3];
        enum request_kind kind;
        bool proxied;
    } rows[] = {
        {{{"A", "b"}}, REQUEST_PLAIN, false},
        {{{"K-Proxy-Request", "activator"}}, REQUEST_PLAIN, true},
        {{{"K-Proxy-Request", "me"}}, REQUEST_PLAIN, false},
        {{{"User-Agent", "kube-probe/1.30"}}, REQUEST_HEALTH, false},
        {{{"User-Agent", "curl/8"}}, REQUEST_PLAIN, false},
        {{{"K-Kubelet-Probe", "x"}}, REQUEST_HEALTH, false},
        {{{"K-Network-Probe", "queue"}}, REQUEST_HEALTH, false},
        {{{"K-Network-Probe", "probe"}, {"K-Network-Hash", "h"}}, REQUEST_HASH_PROBE, false},
        {{{"K-Network-Probe", "activator"}}, REQUEST_BAD_PROBE, false},
        {{{"K-Network-Probe", ""}}, REQUEST_BAD_PROBE, false},
        {{{"User-Agent", "Knative-Activator-Probe"}, {"K-Network-Probe", "queue"}},
         REQUEST_HEALTH,
         false},
        {{{"User-Agent", "Knative-Autoscaling-Probe"}}, REQUEST_BAD_PROBE, false},
        {{{"User-Agent", "Knative-Queue-Proxy-Probe"}, {"K-Network-Probe", "probe"}},
         REQUEST_BAD_PROBE,
         false},
        {{{"User-Agent", "Knative-Ingress-Probe"}, {"K-Network-Probe", "probe"}},
         REQUEST_HASH_PROBE,
         false},
        {{{"User-Agent", "Knative-Client"}}, REQUEST_PLAIN, false},
        {{{"User-Agent", "kube-probe/1.30"}, {"K-Network-Probe", "probe"}},
         REQUEST_BAD_PROBE,
         false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct http_header room[ROOM];
        struct http_head h;
        struct request_class cls;
        build(&h, room, rows[i].pairs);
        headers_classify(&h, &cls);
        assert_int_equal(cls.kind, rows[i].kind);
        assert_int_equal(cls.proxied, rows[i].proxied);
    }
}

/* Runs the edit; the head that the function gets is in *out. */
static struct header_room edit(const struct pair *pairs, const char *peer, struct http_head *out,
                               struct http_header *room)
{
    static struct header_room values; /* a test may */
    struct http_header in_room[ROOM];
    struct http_head in;
    struct request_class cls;
    build(&in, in_room, pairs);
    headers_classify(&in, &cls);
    http_head_init(out, room, ROOM);
    assert_int_equal(http_head_copy(&in, out), 0);
    assert_int_equal(headers_to_function(&in, out, &cls, slice_str(peer), &values), 0);
    return values;
}

static void adds_for_direct_clients(void **state)
{
    struct http_header room[ROOM];
    struct http_head out;
    edit((struct pair[]){{"X-A", "1"}, {"K-Original-Host", "evil"}, {NULL, NULL}}, "10.0.0.7", &out,
         room);
    ASSERT_SLICE(out.authority, "f.example.com");
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("x-forwarded-for")), "10.0.0.7");
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("forwarded")),
                 "for=10.0.0.7;host=f.example.com;proto=http");
    assert_int_equal(out.n_headers, 5);
    edit((struct pair[]){{"X-Forwarded-For", "1.1.1.1,::1"},
                         {"X-Forwarded-Proto", "https"},
                         {NULL, NULL}},
         "::2", &out, room);
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("x-forwarded-for")), "1.1.1.1,::1, ::2");
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("forwarded")),
                 "for=1.1.1.1;host=f.example.com;proto=https, for=\"[::1]\", for=\"[::2]\"");
}

static void trusts_activators(void **state)
{
    struct http_header room[ROOM];
    struct http_head out;
    edit((struct pair[]){{"K-Proxy-Request", "activator"},
                         {"K-Original-Host", "other.example.com"},
                         {"X-Forwarded-For", "1.1.1.1"},
                         {"Knative-Serving-Revision", "r"},
                         {"K-Lull-Refused", "full"},
                         {"K-Native", "kept"},
                         {NULL, NULL}},
         "unix", &out, room);
    ASSERT_SLICE(out.authority, "other.example.com");
    assert_int_equal(out.n_headers, 3);
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("x-forwarded-for")), "1.1.1.1");
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("forwarded")), "for=1.1.1.1");
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("k-native")), "kept");
}

static void leaves_out_what_does_not_fit(void **state)
{
    char chain[2000];
    struct http_header room[ROOM];
    struct http_head out;
    memset(chain, '1', sizeof(chain));
    chain[sizeof(chain) - 1] = '\0';
    edit((struct pair[]){{"X-Forwarded-For", chain}, {NULL, NULL}}, "10.0.0.7", &out, room);
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("x-forwarded-for")), "10.0.0.7");
    edit((struct pair[]){{"X-Forwarded-For", "a;b=\"c, \\"}, {"Forwarded", "for=x"}, {NULL, NULL}},
         "10.0.0.7", &out, room);
    ASSERT_SLICE(http_head_get(&out, SLICE_LIT("forwarded")), "for=x");
}

static void cleans_answers(void **state)
{
    struct http_header room[ROOM];
    struct http_head h;
    build(&h, room,
          (struct pair[]){{"K-Lull-Refused", "full"}, {"k-lull-x", "1"}, {"A", "b"}, {NULL, NULL}});
    headers_from_function(&h);
    assert_int_equal(h.n_headers, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(classifies),        cmocka_unit_test(adds_for_direct_clients),
        cmocka_unit_test(trusts_activators), cmocka_unit_test(leaves_out_what_does_not_fit),
        cmocka_unit_test(cleans_answers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
