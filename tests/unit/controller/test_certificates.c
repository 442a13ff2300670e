// SPDX-License-Identifier: Apache-2.0
/* What the ingress is to show, from DomainMappings, their Secrets and config-network. */
#include "base/base64.h"
#include "base/mem.h"
#include "loop/certificate.h"
#include "json/jget.h"
#include "json/jparse.h"
#include "controller/certificates.h"
#include "controller/meta.h"
#include "test.h"

static void test_names_of_copies(void **state)
{
    char name[OBJECT_BUF];
    char longest[OBJECT_BUF];
    certificate_name_of_domain("shop.example.com", name);
    assert_string_equal(name, "d.shop.example.com");
    assert_string_equal(certificate_domain_of_name(name), "shop.example.com");
    assert_null(certificate_domain_of_name("l.wildcard"));
    memset(longest, 'a', sizeof(longest));
    longest[sizeof(longest) - 1] = '\0';
    certificate_name_of_domain(longest, name);
    assert_int_equal(strlen(name), 18);
    assert_null(certificate_domain_of_name(name));
}

/* --- one mapping with one Secret ------------------------------------------------------------- */

struct scene {
    struct settings settings;
    struct tls_secret secret;
    json_t *copy; /* NULL: none yet */
};

static json_t *get(void *arg, enum kind_id kind, const char *ns, const char *name)
{
    struct scene *s = arg;
    (void)ns;
    (void)name;
    return kind == KIND_SECRET ? json_incref(s->copy) : NULL;
}

static void ask(void *arg, const char *ns, const char *name, struct tls_secret *out)
{
    (void)ns;
    (void)name;
    *out = ((struct scene *)arg)->secret;
}

static json_t *pem64(const char *text)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 1 << 16);
    base64_append(&out, slice_str(text));
    return json_stringn(out.ptr, out.len);
}

static json_t *parse(const char *text)
{
    struct error err;
    json_t *j = NULL;
    ASSERT_OK(jparse(slice_str(text), 1 << 20, &j, &err));
    return j;
}

static struct reconcile_env env_of(struct scene *s)
{
    return (struct reconcile_env){.settings = &s->settings,
                                  .now_ns = INT64_C(1000000) * 1000000000,
                                  .now = "1970-01-12T13:46:40Z",
                                  .get = get,
                                  .tls_secret = ask,
                                  .arg = s};
}

/* Nothing is to do until the Secret is another one; broken, the copy stays. */
static void a_copy_that_is_there(struct scene *s, const struct reconcile_env *env, json_t *mapping,
                                 json_t *data)
{
    struct error err = {0};
    struct condition said;
    struct plan plan;
    s->secret = (struct tls_secret){
        .state = TLS_SECRET_GOOD, .data = data, .version = "u/1", .ends_s = 1000001};
    plan_init(&plan);
    certificate_of_mapping(env, mapping, true, &plan, &err, &said);
    assert_int_equal(plan.n_ops, 0);
    s->secret.version = "u/2";
    certificate_of_mapping(env, mapping, true, &plan, &err, &said);
    assert_int_equal(plan.n_ops, 1);
    assert_int_equal(plan.ops[0].verb, PLAN_PATCH);
    plan_fini(&plan);
    plan_init(&plan);
    s->secret = (struct tls_secret){.state = TLS_SECRET_BAD, .message = "why"};
    certificate_of_mapping(env, mapping, true, &plan, &err, &said);
    assert_int_equal(plan.n_ops, 0);
    assert_string_equal(said.message, "the last good certificate is still shown: why");
    plan_fini(&plan);
}

static void test_a_mapping(void **state)
{
    struct scene s = {.copy = NULL};
    struct certificate ca = {0};
    struct certificate own = {0};
    struct error err = {0};
    struct condition said;
    struct plan plan;
    settings_init(&s.settings, "", "lull-system");
    slice_copy(SLICE_LIT("certs"), s.settings.certificate_namespace,
               sizeof(s.settings.certificate_namespace));
    ASSERT_OK(certificate_make_ca("ca", 3600, &ca, &err));
    ASSERT_OK(certificate_make(&ca, "own", "DNS:shop.example.com", 3600, &own, &err));
    CLEANUP(jfree)
    json_t *data =
        json_pack("{s:o,s:o}", "tls.crt", pem64(own.cert_pem), "tls.key", pem64(own.key_pem));
    CLEANUP(jfree)
    json_t *mapping = parse("{\"metadata\":{\"name\":\"shop.example.com\",\"namespace\":\"ns\","
                            "\"uid\":\"u\"},\"spec\":{\"tls\":{\"secretName\":\"tls\"}}}");
    const struct reconcile_env env = env_of(&s);
    static const struct {
        const char *name;
        enum tls_secret_state state;
        int64_t begins_s;
        int64_t ends_s;
        bool may_show;
        enum certificate_progress progress;
        const char *status;
        size_t ops;
    } rows[] = {
        {"not read yet", TLS_SECRET_WAIT, 0, 0, true, CERTIFICATE_WAITS, "", 0},
        {"not there", TLS_SECRET_ABSENT, 0, 0, true, CERTIFICATE_SAID, STATUS_FALSE, 0},
        {"broken", TLS_SECRET_BAD, 0, 0, true, CERTIFICATE_SAID, STATUS_FALSE, 0},
        {"has ended", TLS_SECRET_GOOD, 0, 1000000, true, CERTIFICATE_SAID, STATUS_FALSE, 0},
        {"begins later", TLS_SECRET_GOOD, 1000001, 2000000, true, CERTIFICATE_SAID, STATUS_FALSE,
         0},
        {"good", TLS_SECRET_GOOD, 0, 1000001, true, CERTIFICATE_SAID, STATUS_TRUE, 1},
        {"another's domain", TLS_SECRET_GOOD, 0, 1000001, false, CERTIFICATE_SAID, STATUS_TRUE, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        s.secret = (struct tls_secret){.state = rows[i].state,
                                       .data = rows[i].state == TLS_SECRET_GOOD ? data : NULL,
                                       .version = "u/1",
                                       .begins_s = rows[i].begins_s,
                                       .ends_s = rows[i].ends_s,
                                       .message = "why",
                                       .again_ms = 7};
        said = (struct condition){.status = ""};
        plan_init(&plan);
        enum certificate_progress progress =
            certificate_of_mapping(&env, mapping, rows[i].may_show, &plan, &err, &said);
        if (progress != rows[i].progress || strcmp(said.status, rows[i].status) != 0 ||
            plan.n_ops != rows[i].ops || plan.again_ms != 7) {
            fail_msg("%s: %d %s %zu", rows[i].name, (int)progress, said.status, plan.n_ops);
        }
        if (plan.n_ops == 1) {
            assert_string_equal(plan.ops[0].ns, "certs");
            s.copy = json_incref(plan.ops[0].body);
        }
        plan_fini(&plan);
    }
    assert_non_null(s.copy);
    a_copy_that_is_there(&s, &env, mapping, data);
    json_decref(s.copy);
    certificate_fini(&ca);
    certificate_fini(&own);
    settings_fini(&s.settings);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names_of_copies),
        cmocka_unit_test(test_a_mapping),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
