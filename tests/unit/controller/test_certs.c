// SPDX-License-Identifier: Apache-2.0
/* The life of the webhook's certificates, on a clock that is told. */
#include "base/clock.h"
#include "base/mem.h"
#include "json/jedit.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/certs.h"
#include "test.h"

enum { DAY_S = 24 * 3600 };
#define NS "lull-system"

static int64_t now_s(void)
{
    return clock_wall_ns() / (int64_t)CLOCK_NS_PER_S;
}

static size_t count_certificates(const char *pem)
{
    size_t n = 0;
    for (; (pem = strstr(pem, "-----BEGIN CERTIFICATE-----")) != NULL; pem++) {
        n++;
    }
    return n;
}

static void made_and_kept(void **state)
{
    struct error err;
    struct certs certs = {0}, read;
    int64_t now = now_s();
    assert_int_equal(certs_need(&certs, NS, now), CERTS_ALL);
    ASSERT_OK(certs_renew(&certs, CERTS_ALL, NS, now, &err));
    assert_int_equal(certs_need(&certs, NS, now), CERTS_FINE);
    assert_true(certificate_names(slice_str(certs.server.cert_pem), "lull-webhook." NS ".svc"));
    CLEANUP(jfree) json_t *secret = certs_secret(&certs, NS, NULL);
    assert_string_equal(jpeek_cstr(secret, "metadata.name"), "lull-webhook-certs");
    ASSERT_OK(certs_read(secret, &read, &err));
    assert_string_equal(read.ca.key_pem, certs.ca.key_pem);
    assert_int_equal(certs_need(&read, NS, now), CERTS_FINE);
    /* The Secret of another namespace's Service is of no use there. */
    assert_int_equal(certs_need(&read, "other", now), CERTS_SERVER);
    certs_fini(&read);
    certs_fini(&certs);
}

static void renewed_before_the_end(void **state)
{
    struct error err;
    struct certs certs = {0};
    int64_t now = now_s();
    ASSERT_OK(certs_renew(&certs, CERTS_ALL, NS, now, &err));
    /* Days from now. */
    static const struct {
        int64_t days;
        enum certs_need need;
    } rows[] = {
        {59, CERTS_FINE},     {61, CERTS_SERVER}, {89, CERTS_SERVER}, {91, CERTS_SERVER},
        {3600, CERTS_SERVER}, {3651, CERTS_ALL},  {-2, CERTS_ALL},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        enum certs_need need = certs_need(&certs, NS, now + rows[i].days * DAY_S);
        if (need != rows[i].need) {
            fail_msg("%lld days: %d, want %d", (long long)rows[i].days, need, rows[i].need);
        }
    }
    CLEANUP(cleanup_free) char *before = xstrdup(certs.ca.cert_pem);
    CLEANUP(cleanup_free) char *server = xstrdup(certs.server.cert_pem);
    ASSERT_OK(certs_renew(&certs, CERTS_SERVER, NS, now, &err));
    assert_string_equal(certs.ca.cert_pem, before);
    assert_string_not_equal(certs.server.cert_pem, server);
    certs_fini(&certs);
}

static void a_new_authority_comes_beside_the_old(void **state)
{
    struct error err;
    struct certs certs = {0};
    int64_t now = now_s();
    ASSERT_OK(certificate_make_ca("old", 100 * DAY_S, &certs.ca, &err));
    ASSERT_OK(certs_renew(&certs, CERTS_SERVER, NS, now, &err));
    assert_int_equal(certs_need(&certs, NS, now), CERTS_CA);
    CLEANUP(cleanup_free) char *old = xstrdup(certs.ca.cert_pem);
    CLEANUP(cleanup_free) char *server = xstrdup(certs.server.cert_pem);
    ASSERT_OK(certs_renew(&certs, CERTS_CA, NS, now, &err));
    assert_int_equal(count_certificates(certs.ca.cert_pem), 2);
    assert_non_null(strstr(certs.ca.cert_pem, old));
    assert_string_equal(certs.server.cert_pem, server); /* as before: the old one signed it */
    assert_int_equal(certs_need(&certs, NS, now), CERTS_FINE);
    /* Its turn comes with the server certificate's, which both trust bundles know. */
    assert_int_equal(certs_need(&certs, NS, now + 61 * DAY_S), CERTS_SERVER);
    ASSERT_OK(certs_renew(&certs, CERTS_SERVER, NS, now, &err));
    assert_true(
        certificate_signed_by(slice_str(certs.server.cert_pem), slice_str(certs.ca.cert_pem)));
    assert_false(certificate_signed_by(slice_str(certs.server.cert_pem), slice_str(old)));
    certs_fini(&certs);
}

static void a_young_authority_signs_nothing(void **state)
{
    struct error err;
    struct certs certs = {0};
    int64_t now = now_s();
    ASSERT_OK(certs_renew(&certs, CERTS_ALL, NS, now, &err));
    certificate_fini(&certs.server);
    ASSERT_OK(certificate_make(&certs.ca, "x", "DNS:lull-webhook." NS ".svc", 10 * DAY_S,
                               &certs.server, &err));
    assert_int_equal(certs_need(&certs, NS, now), CERTS_FINE);
    assert_int_equal(certs_need(&certs, NS, now + 2 * DAY_S), CERTS_SERVER);
    certs_fini(&certs);
}

static void useless_secrets(void **state)
{
    struct error err;
    struct certs certs = {0}, other = {0}, read;
    int64_t now = now_s();
    static const char *const rows[] = {
        "{}", "{\"data\":[]}", "{\"data\":{\"ca-cert.pem\":1}}",
        "{\"data\":{\"ca-cert.pem\":\"!\",\"ca-key.pem\":\"\",\"server-cert.pem\":\"\"}}"};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        CLEANUP(jfree) json_t *secret = NULL;
        ASSERT_OK(jparse(slice_str(rows[i]), 4096, &secret, &err));
        ASSERT_ERR(ERR_INVALID, certs_read(secret, &read, &err));
        assert_null(read.ca.cert_pem);
    }
    ASSERT_OK(certs_renew(&certs, CERTS_ALL, NS, now, &err));
    ASSERT_OK(certs_renew(&other, CERTS_ALL, NS, now, &err));
    struct certs mixed = {.ca = certs.ca, .server = other.server};
    assert_int_equal(certs_need(&mixed, NS, now), CERTS_SERVER);
    mixed = (struct certs){.ca = {certs.ca.cert_pem, other.ca.key_pem}, .server = certs.server};
    assert_int_equal(certs_need(&mixed, NS, now), CERTS_ALL);
    char nonsense[] = "nonsense";
    mixed = (struct certs){.ca = {nonsense, nonsense}, .server = {nonsense, nonsense}};
    assert_int_equal(certs_need(&mixed, NS, now), CERTS_ALL);
    /* What else is in the Secret stays. */
    CLEANUP(jfree)
    json_t *kept =
        json_pack("{s:{s:s},s:{s:s}}", "metadata", "resourceVersion", "7", "data", "mine", "eA==");
    CLEANUP(jfree) json_t *secret = certs_secret(&certs, NS, kept);
    assert_string_equal(jpeek_cstr(secret, "metadata.resourceVersion"), "7");
    assert_string_equal(jpeek_cstr(secret, "data.mine"), "eA==");
    certs_fini(&certs);
    certs_fini(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(made_and_kept),
        cmocka_unit_test(renewed_before_the_end),
        cmocka_unit_test(a_new_authority_comes_beside_the_old),
        cmocka_unit_test(a_young_authority_signs_nothing),
        cmocka_unit_test(useless_secrets),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
