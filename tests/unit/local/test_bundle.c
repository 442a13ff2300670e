// SPDX-License-Identifier: Apache-2.0
//
// Image references of local bundles, and reading a bundle.
#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "json/jget.h"
#include "local/agent/bundle.h"
#include "test.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static void test_digest(void **state)
{
    (void)state;
    static const char *const WRONG[] = {
        "",
        "x",
        "dev.local/a",
        "dev.local/a:latest",
        "docker.io/a@sha256:" HEX,
        "dev.local/a@sha256:" HEX "0",
        "dev.local/a@sha256:0123",
        "dev.local/a@sha512:" HEX,
        "dev.local/a@sha256:../../../../../../../../../../../../../../../../../../../../../etc/x",
        "dev.local/a@sha256:ABCDEF6789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
    };
    char hex[65] = "";
    struct error err;

    ASSERT_OK(bundle_digest("dev.local/hello@sha256:" HEX, hex, &err));
    assert_string_equal(hex, HEX);
    for (size_t i = 0; i < ARRAY_LEN(WRONG); i++) {
        ASSERT_ERR(ERR_UNSUPPORTED, bundle_digest(WRONG[i], hex, &err));
        ASSERT_MSG("lull deploy");
    }
}

static void test_read(void **state)
{
    (void)state;
    char home[] = "/tmp/lull-bundle-XXXXXX";
    struct error err;
    struct bundle b = {0};
    assert_non_null(mkdtemp(home));
    CLEANUP(cleanup_free) char *folder = xasprintf("%s/bundles/sha256-%s", home, HEX);
    CLEANUP(cleanup_free) char *file = fs_join(folder, "bundle.json");
    CLEANUP(cleanup_free) char *files = fs_join(folder, "files");

    ASSERT_ERR(ERR_NOT_FOUND, bundle_read(home, "dev.local/a@sha256:" HEX, &b, &err));
    ASSERT_MSG("deploy the function again");
    ASSERT_OK(fs_mkdir_p(folder, 0755, &err));
    ASSERT_OK(fs_write_atomic(file, SLICE_LIT("{\"command\": [\"./x\"], "), 0644, &err));
    ASSERT_ERR(ERR_INVALID, bundle_read(home, "dev.local/a@sha256:" HEX, &b, &err));
    ASSERT_OK(fs_write_atomic(file, SLICE_LIT("{\"command\": [\"./x\"], \"workdir\": \"files\"}"),
                              0644, &err));
    ASSERT_OK(bundle_read(home, "dev.local/a@sha256:" HEX, &b, &err));
    assert_string_equal(b.workdir, files);
    bundle_fini(&b);
    ASSERT_OK(fs_write_atomic(file, SLICE_LIT("{\"command\": [\"x\"], \"workdir\": \"/srv\"}"),
                              0644, &err));
    ASSERT_OK(bundle_read(home, "dev.local/a@sha256:" HEX, &b, &err));
    assert_string_equal(b.workdir, "/srv");
    bundle_fini(&b);
    (void)!fs_remove_tree(home, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_digest), cmocka_unit_test(test_read)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
