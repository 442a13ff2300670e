// SPDX-License-Identifier: Apache-2.0
/* Kubernetes' protobuf bodies: one by hand, and every way to cut it short. */
#include <stdlib.h>
#include <string.h>

#include "local/api/protobuf.h"
#include "test.h"

/* k8s\0, Unknown{1: TypeMeta{v1, ConfigMap}, 2: ConfigMap{1: {name: "c", 11: {"k": "v"}},
   2: {"a": "b"}, 3: {"x": 00 ff}}} */
static const char body[] = "k8s\0"
                           "\x0a\x0f"
                           "\x0a\x02v1"
                           "\x12\x09"
                           "ConfigMap"
                           "\x12\x1e"
                           "\x0a\x0b"
                           "\x0a\x01"
                           "c"
                           "\x5a\x06"
                           "\x0a\x01k"
                           "\x12\x01v"
                           "\x12\x06"
                           "\x0a\x01"
                           "a"
                           "\x12\x01"
                           "b"
                           "\x1a\x07"
                           "\x0a\x01x"
                           "\x12\x02\x00\xff"
                           "\x22";

static void reads_a_configmap(void **state)
{
    struct error err;
    json_t *o;
    ASSERT_OK(protobuf_read(slice_of(body, sizeof(body) - 2), &o, &err));
    char *text = json_dumps(o, JSON_COMPACT | JSON_SORT_KEYS);
    assert_string_equal(text,
                        "{\"apiVersion\":\"v1\",\"binaryData\":{\"x\":\"AP8=\"},\"data\":{\"a\":"
                        "\"b\"},\"kind\":\"ConfigMap\",\"metadata\":{\"labels\":{\"k\":\"v\"},"
                        "\"name\":\"c\"}}");
    free(text);
    json_decref(o);
}

static void refuses_what_is_cut_or_bent(void **state)
{
    size_t len = sizeof(body) - 2;
    for (size_t n = 0; n < len; n++) {
        struct error err;
        json_t *o = NULL;
        char *cut = malloc(n + 1); /* its own block, so that a sanitizer sees the end */
        memcpy(cut, body, n);
        if (protobuf_read(slice_of(cut, n), &o, &err) == 0) {
            json_decref(o);
        }
        free(cut);
    }
    for (size_t i = 0; i < len; i++) {
        for (int bit = 0; bit < 8; bit++) {
            char bent[sizeof(body)];
            struct error err;
            json_t *o = NULL;
            memcpy(bent, body, sizeof(body));
            bent[i] = (char)(bent[i] ^ (1 << bit));
            if (protobuf_read(slice_of(bent, len), &o, &err) == 0) {
                json_decref(o);
            }
        }
    }
    struct error err;
    json_t *o;
    char other[sizeof(body)];
    memcpy(other, body, sizeof(body));
    memcpy(memmem(other, len, "ConfigMap", 9), "Something", 9);
    ASSERT_ERR(ERR_UNSUPPORTED, protobuf_read(slice_of(other, len), &o, &err));
    ASSERT_MSG("Something");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(reads_a_configmap),
                                       cmocka_unit_test(refuses_what_is_cut_or_bent)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
