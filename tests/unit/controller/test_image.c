// SPDX-License-Identifier: Apache-2.0
/* Names of images, challenges of registries, pull secrets. */
#include "json/jparse.h"
#include "controller/image.h"
#include "test.h"

static void names(void **state)
{
    static const struct {
        const char *image, *registry, *repository, *tag;
        bool digest, near;
    } rows[] = {
        {"hello", "index.docker.io", "library/hello", "latest", false, false},
        {"ann/hello:1", "index.docker.io", "ann/hello", "1", false, false},
        {"docker.io/ann/hello", "index.docker.io", "ann/hello", "latest", false, false},
        {"ghcr.io/a/b/c:v1.2-x", "ghcr.io", "a/b/c", "v1.2-x", false, false},
        {"localhost/a", "localhost", "a", "latest", false, true},
        {"127.0.0.1:5000/a:2", "127.0.0.1:5000", "a", "2", false, true},
        {"10.96.0.7:5000/a", "10.96.0.7:5000", "a", "latest", false, true},
        {"registry.local:80/a", "registry.local:80", "a", "latest", false, true},
        {"11.0.0.1/a", "11.0.0.1", "a", "latest", false, false},
        {"r.io/a@sha256:00", "r.io", "a", "latest", true, false},
        {"r.io/a:1@sha256:00", "r.io", "a", "1", true, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct image_ref ref;
        ASSERT_OK(image_ref_parse(rows[i].image, &ref, &err));
        assert_string_equal(ref.registry, rows[i].registry);
        assert_string_equal(ref.repository, rows[i].repository);
        assert_string_equal(ref.tag, rows[i].tag);
        assert_int_equal(ref.has_digest, rows[i].digest);
        assert_int_equal(ref.near, rows[i].near);
    }
    static const char *const bad[] = {"", "a b", "r.io/a:", "r.io/\"x\"", "r.io/a?b=c", "r.io/"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct error err;
        struct image_ref ref;
        ASSERT_ERR(ERR_INVALID, image_ref_parse(bad[i], &ref, &err));
        ASSERT_MSG("could not parse reference");
    }
}

static void lists(void **state)
{
    struct error err;
    struct image_ref ref;
    ASSERT_OK(image_ref_parse("dev.local/x", &ref, &err));
    assert_true(image_ref_listed(&ref, "kind.local, dev.local"));
    assert_false(image_ref_listed(&ref, "kind.local,dev.local.org"));
    assert_false(image_ref_listed(&ref, ""));
}

static void challenges(void **state)
{
    static const struct {
        const char *header;
        bool basic, bearer;
        const char *url;
    } rows[] = {
        {"Basic realm=\"x\"", true, false, ""},
        {"Bearer "
         "realm=\"https://auth.example.com/token\",service=\"registry.io\",scope=\"repository:a/"
         "b:pull\"",
         false, true,
         "https://auth.example.com/token?service=registry.io&scope=repository:a/b:pull"},
        {"bearer  realm=\"https://auth.example.com/t?x=1\", service=\"a b&c\"", false, true,
         "https://auth.example.com/t?x=1&service=a%20b%26c&scope=mine"},
        {"Basic realm=\"a, b\", Bearer realm=\"https://t/t\",service=\"s\"", true, true,
         "https://t/t?service=s&scope=mine"},
        {"Negotiate, Bearer realm=\"https://t/t\", Basic realm=\"x\"", true, true,
         "https://t/t?scope=mine"},
        {"Bearer realm=\"file:///etc/passwd\"", false, false, ""},
        {"Bearer realm", false, false, ""},
        {"Negotiate", false, false, ""},
        {"", false, false, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err;
        struct image_challenge challenge;
        CLEANUP(strbuf_fini) struct strbuf url;
        strbuf_init(&url, 4096);
        image_challenge_parse(slice_str(rows[i].header), &challenge);
        assert_int_equal(challenge.basic, rows[i].basic);
        assert_int_equal(challenge.bearer, rows[i].bearer);
        if (challenge.bearer) {
            ASSERT_OK(image_token_url(&challenge, "mine", &url, &err));
            assert_string_equal(url.ptr, rows[i].url);
        }
    }
}

static void secrets(void **state)
{
    /* {"auths":{"//index.docker.io/v1/":{"auth":"YW5uOng="},"r.io:5000":{"username":"bob","password":"y"},"q.io":{}}}
     */
    static const char modern[] =
        "{\"data\":{\".dockerconfigjson\":"
        "\"eyJhdXRocyI6eyJodHRwczovL2luZGV4LmRvY2tlci5pby92MS8iOnsi"
        "YXV0aCI6IllXNXVPbmc9In0sInIuaW86NTAwMCI6eyJ1c2VybmFtZSI6ImJvYiIsInBhc3N3b3JkIjoieSJ9LCJxLm"
        "lvIjp7fX19\"}}";
    static const struct {
        const char *registry, *want; /* NULL: none */
    } rows[] = {
        {"index.docker.io", "YW5uOng="}, {"r.io:5000", "Ym9iOnk="}, {"r.io", NULL}, {"q.io", NULL}};
    struct error err;
    CLEANUP(jfree) json_t *secret = NULL;
    ASSERT_OK(jparse(slice_str(modern), 4096, &secret, &err));
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(strbuf_fini) struct strbuf out;
        strbuf_init(&out, 4096);
        int rc = image_credentials(secret, rows[i].registry, &out, &err);
        assert_int_equal(rc, rows[i].want == NULL ? ERR_NOT_FOUND : 0);
        if (rows[i].want != NULL) {
            assert_string_equal(out.ptr, rows[i].want);
        }
    }
    CLEANUP(jfree) json_t *broken = json_pack("{s:{s:s}}", "data", ".dockercfg", "bm9uc2Vuc2U=");
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 4096);
    assert_int_equal(image_credentials(broken, "r.io", &out, &err), ERR_NOT_FOUND);
}

static void digests(void **state)
{
    assert_true(image_digest_valid(
        SLICE_LIT("sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")));
    assert_false(image_digest_valid(
        SLICE_LIT("sha256:0123456789ABCDEF0123456789abcdef0123456789abcdef0123456789abcdef")));
    assert_false(image_digest_valid(SLICE_LIT("sha256:00")));
    assert_false(image_digest_valid(SLICE_EMPTY));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names),   cmocka_unit_test(lists),   cmocka_unit_test(challenges),
        cmocka_unit_test(secrets), cmocka_unit_test(digests),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
