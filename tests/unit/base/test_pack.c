// SPDX-License-Identifier: Apache-2.0
/* Packed texts come back byte by byte; what is no packed text is refused. */
#include <stdlib.h>

#include "base/mem.h"
#include "base/pack.h"
#include "test.h"

enum { TEXT_MAX = 1 << 20 };

static const char object_sample[] =
    "{\"metadata\":{\"name\":\"first\",\"namespace\":\"default\",\"uid\":"
    "\"0c0d8d0e-4a52-4d4f-9a59-5d2f2a0c4d10\",\"generation\":1,\"creationTimestamp\":"
    "\"2026-10-02T11:41:00Z\",\"labels\":{\"serving.knative.dev/service\":\"first\"},"
    "\"annotations\":{\"serving.knative.dev/creator\":\"admin\","
    "\"serving.knative.dev/lastModifier\":\"admin\"}},\"spec\":{\"traffic\":[{"
    "\"latestRevision\":true,\"percent\":100,\"configurationName\":\"first\"}]},\"status\":{"
    "\"observedGeneration\":1,\"conditions\":[{\"type\":\"AllTrafficAssigned\",\"status\":"
    "\"True\",\"lastTransitionTime\":\"2026-10-02T11:41:01Z\"},{\"type\":"
    "\"CertificateProvisioned\",\"status\":\"True\",\"lastTransitionTime\":"
    "\"2026-10-02T11:41:00Z\",\"reason\":\"TLSNotEnabled\",\"message\":"
    "\"external-domain-tls is not enabled\"}]}}";

/* The packed length. */
static size_t there_and_back(const struct pack *pack, struct slice text)
{
    struct error err = {0};
    size_t len = 0;
    CLEANUP(cleanup_free) char *packed = pack_text(pack, text, &len);
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, TEXT_MAX);
    ASSERT_OK(unpack_text(pack, slice_of(packed, len), &out, &err));
    assert_int_equal(out.len, text.len);
    assert_memory_equal(out.ptr, text.ptr, text.len);
    char *first = xmalloc(text.len + 2);
    for (size_t n = 0; n <= text.len; n += 1 + text.len / 7) {
        ASSERT_OK(unpack_first(pack, slice_of(packed, len), first, n, &err));
        assert_memory_equal(first, text.ptr, n);
    }
    assert_int_equal(unpack_first(pack, slice_of(packed, len), first, text.len + 1, &err),
                     ERR_INVALID);
    free(first);
    return len;
}

static void an_object(void **state)
{
    struct pack *pack = *state;
    static const char text[] =
        "{\"metadata\":{\"name\":\"hello\",\"namespace\":\"default\",\"uid\":"
        "\"7b624e8a-a382-4e8a-ba2c-99bffbc96644\",\"generation\":1,\"creationTimestamp\":"
        "\"2026-11-23T01:51:09Z\",\"labels\":{\"serving.knative.dev/service\":\"hello\"},"
        "\"annotations\":{\"serving.knative.dev/creator\":\"lull-admin\","
        "\"serving.knative.dev/lastModifier\":\"lull-admin\"}},\"spec\":{\"traffic\":[{"
        "\"latestRevision\":true,\"percent\":100,\"configurationName\":\"hello\"}]},\"status\":{"
        "\"observedGeneration\":1,\"conditions\":[{\"type\":\"AllTrafficAssigned\",\"status\":"
        "\"True\",\"lastTransitionTime\":\"2026-11-23T01:51:10Z\"},{\"type\":"
        "\"CertificateProvisioned\",\"status\":\"True\",\"lastTransitionTime\":"
        "\"2026-11-23T01:51:09Z\",\"reason\":\"TLSNotEnabled\",\"message\":"
        "\"external-domain-tls is not enabled\"},{\"type\":\"IngressReady\",\"status\":\"True\","
        "\"lastTransitionTime\":\"2026-11-23T01:51:10Z\"}]}}";
    size_t len = there_and_back(pack, slice_str(text));
    assert_true(len < sizeof(text) / 3);
}

static void odd_texts(void **state)
{
    struct pack *pack = *state;
    char *text = xmalloc(300000);
    unsigned seed = 1;
    for (size_t len = 0; len < 40; len++) {
        memset(text, 'a', len);
        (void)there_and_back(pack, slice_of(text, len));
        (void)there_and_back(pack, slice_of(object_sample, len));
        (void)there_and_back(pack, slice_of(object_sample + strlen(object_sample) - len, len));
    }
    memset(text, 'a', 300000);
    assert_true(there_and_back(pack, slice_of(text, 300000)) < 2000);
    for (int round = 0; round < 200; round++) {
        seed = seed * 1103515245 + 12345;
        size_t len = (seed >> 8) % 5000;
        unsigned kinds = 2 + (seed >> 4) % 254; /* few letters: many matches; all: none */
        for (size_t i = 0; i < len; i++) {
            seed = seed * 1103515245 + 12345;
            text[i] = (char)(unsigned char)((seed >> 16) % kinds);
        }
        (void)there_and_back(pack, slice_of(text, len));
    }
    for (size_t i = 0; i < 300000; i++) { /* no match at all: the longest packed text */
        seed = seed * 1103515245 + 12345;
        text[i] = (char)(unsigned char)(seed >> 16);
    }
    (void)there_and_back(pack, slice_of(text, 300000));
    /* A repetition that is too far back to be told. */
    for (size_t i = 0; i < 300000; i++) {
        seed = seed * 1103515245 + 12345;
        text[i] = i < 150000 ? (char)(unsigned char)(seed >> 16) : text[i - 150000];
    }
    (void)there_and_back(pack, slice_of(text, 300000));
    free(text);
}

static void bad_bytes(void **state)
{
    struct pack *pack = *state;
    unsigned seed = 7;
    CLEANUP(strbuf_fini) struct strbuf out;
    struct error err = {0};
    strbuf_init(&out, 4096);
    assert_int_equal(unpack_text(pack, SLICE_EMPTY, &out, &err), ERR_INVALID);
    size_t len = 0;
    CLEANUP(cleanup_free) char *packed = pack_text(pack, slice_str(object_sample), &len);
    for (size_t cut = 0; cut < len; cut++) {
        strbuf_clear(&out);
        assert_true(unpack_text(pack, slice_of(packed, cut), &out, &err) < 0);
    }
    for (int round = 0; round < 20000; round++) {
        char bytes[24];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            seed = seed * 1103515245 + 12345;
            bytes[i] = (char)(unsigned char)(seed >> 16);
        }
        strbuf_clear(&out);
        (void)!unpack_text(pack, slice_of(bytes, 1 + seed % sizeof(bytes)), &out, &err);
        char first[64];
        (void)!unpack_first(pack, slice_of(bytes, 1 + seed % sizeof(bytes)), first, 64, &err);
    }
    strbuf_clear(&out);
    static const char far[] = "\x04\0\0\0\x00\xff\xff\x00"; /* a match from before the sample */
    assert_int_equal(unpack_text(pack, slice_of(far, sizeof(far) - 1), &out, &err), ERR_INVALID);
}

static int setup(void **state)
{
    struct pack *pack = NEW(struct pack);
    pack_init(pack, slice_str(object_sample));
    *state = pack;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object),
        cmocka_unit_test(odd_texts),
        cmocka_unit_test(bad_bytes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
