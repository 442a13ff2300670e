// SPDX-License-Identifier: Apache-2.0
/* Kubeconfig files: what is read, and what is said about those that cannot be used. */
#include <unistd.h>

#include "base/fs.h"
#include "base/mem.h"
#include "kube/config.h"
#include "test.h"

struct files {
    char dir[64];
    char path[96];
};

static void files_start(struct files *f)
{
    snprintf(f->dir, sizeof(f->dir), "/tmp/lull-test-XXXXXX");
    assert_non_null(mkdtemp(f->dir));
    snprintf(f->path, sizeof(f->path), "%s/config", f->dir);
}

static void files_write(const char *path, const char *text)
{
    struct error err = {0};
    ASSERT_OK(fs_write_atomic(path, slice_str(text), 0600, &err));
}

static void files_end(struct files *f)
{
    struct error err = {0};
    ASSERT_OK(fs_remove_tree(f->dir, &err));
}

static const char full[] = "apiVersion: v1\n"
                           "kind: Config\n"
                           "current-context: b\n"
                           "contexts:\n"
                           "- {name: a, context: {cluster: one, user: x}}\n"
                           "- name: b\n"
                           "  context:\n"
                           "    cluster: two\n"
                           "    user: y\n"
                           "    namespace: team\n"
                           "clusters:\n"
                           "- name: one\n"
                           "  cluster: {server: 'https://one:6443'}\n"
                           "- name: two\n"
                           "  cluster:\n"
                           "    server: https://two:6443/\n"
                           "    certificate-authority-data: aGVsbG8K\n"
                           "users:\n"
                           "- {name: x, user: {token: abc}}\n"
                           "- name: y\n"
                           "  user:\n"
                           "    client-certificate: cert.pem\n"
                           "    client-key-data: a2V5\n";

static void reads_contexts(void **state)
{
    (void)state;
    struct files f;
    struct error err = {0};
    struct kube_config c = {0};
    char cert[96];
    files_start(&f);
    files_write(f.path, full);
    snprintf(cert, sizeof(cert), "%s/cert.pem", f.dir);
    files_write(cert, "CERT");
    ASSERT_OK(kube_config_load_file(f.path, NULL, &c, &err));
    assert_string_equal(c.server, "https://two:6443");
    assert_string_equal(c.ca_pem, "hello\n");
    assert_string_equal(c.client_cert_pem, "CERT");
    assert_string_equal(c.client_key_pem, "key");
    assert_string_equal(c.ns, "team");
    assert_null(c.token);
    kube_config_fini(&c);
    ASSERT_OK(kube_config_load_file(f.path, "a", &c, &err));
    assert_string_equal(c.server, "https://one:6443");
    assert_string_equal(c.token, "abc");
    assert_string_equal(c.ns, "default");
    assert_null(c.ca_pem);
    kube_config_fini(&c);
    files_end(&f);
}

static void says_what_is_wrong(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
        const char *msg;
    } rows[] = {
        {"", ERR_INVALID, "current-context"},
        {"a: [", ERR_INVALID, "line "},
        {"- 1\n", ERR_INVALID, "current-context"},
        {"current-context: a\n", ERR_INVALID, "no context \"a\""},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n", ERR_INVALID,
         "the cluster of context \"a\""},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {}}]\n",
         ERR_INVALID, "no server"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c}}]\n"
         "clusters: [{name: c, cluster: {server: x, certificate-authority-data: '!'}}]\n",
         ERR_INVALID, "base64"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: x}}]\n"
         "users: [{name: u, user: {exec: {command: aws}}}]\n",
         ERR_UNSUPPORTED, "helper program"},
        {"current-context: a\ncontexts: [{name: a, context: {cluster: c, user: u}}]\n"
         "clusters: [{name: c, cluster: {server: x}}]\n"
         "users: [{name: u, user: {client-certificate: /nonexistent/c}}]\n",
         ERR_NOT_FOUND, "client-certificate"},
    };
    struct files f;
    files_start(&f);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct error err = {0};
        struct kube_config c = {0};
        files_write(f.path, rows[i].text);
        ASSERT_ERR(rows[i].code, kube_config_load_file(f.path, NULL, &c, &err));
        ASSERT_MSG(rows[i].msg);
        assert_null(c.server);
    }
    files_end(&f);
}

static void looks_in_order(void **state)
{
    (void)state;
    struct files f;
    struct error err = {0};
    struct kube_config c = {0};
    char list[256];
    files_start(&f);
    files_write(f.path, full);
    unsetenv("KUBERNETES_SERVICE_HOST");
    snprintf(list, sizeof(list), "%s/none:%s", f.dir, f.path);
    setenv("KUBECONFIG", list, 1);
    ASSERT_ERR(ERR_NOT_FOUND, kube_config_load(NULL, &c, &err)); /* cert.pem is missing */
    ASSERT_MSG("cert.pem");
    setenv("KUBECONFIG", "/nonexistent/a", 1);
    ASSERT_ERR(ERR_NOT_FOUND, kube_config_load("", &c, &err));
    ASSERT_MSG("KUBECONFIG=/nonexistent/a");
    unsetenv("KUBECONFIG");
    setenv("HOME", f.dir, 1);
    ASSERT_ERR(ERR_NOT_FOUND, kube_config_load(NULL, &c, &err));
    ASSERT_MSG("no API server is known");
    ASSERT_ERR(ERR_NOT_FOUND, kube_config_load_in_cluster(&c, &err));
    files_end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_contexts),
        cmocka_unit_test(says_what_is_wrong),
        cmocka_unit_test(looks_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
