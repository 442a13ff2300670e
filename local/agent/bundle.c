// SPDX-License-Identifier: Apache-2.0
//
// Reading a bundle. It was written by rename, so what is there is whole; what is not there was
// never deployed to this state directory, or was removed.
#include "local/agent/bundle.h"

#include <stdlib.h>
#include <string.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jparse.h"

#define BUNDLE_JSON_MAX (1u << 20)

int bundle_digest(const char *image, char out_hex[65], struct error *err)
{
    const char *at = strstr(image, "@sha256:");
    const char *hex = at ? at + strlen("@sha256:") : "";

    if (strncmp(image, "dev.local/", 10) != 0 || strlen(hex) != 64 ||
        strspn(hex, "0123456789abcdef") != 64) {
        return error_set(err, ERR_UNSUPPORTED,
                         "image \"%.120s\" is not a local bundle (dev.local/NAME@sha256:…): on one "
                         "machine deploy with `lull deploy NAME --source DIR`",
                         image);
    }
    memcpy(out_hex, hex, 65);
    return 0;
}

int bundle_read(const char *home, const char *image, struct bundle *out, struct error *err)
{
    char hex[65];
    struct bundle b = {0};
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, BUNDLE_JSON_MAX);
    int rc = bundle_digest(image, hex, err);
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_free) char *path = xasprintf("%s/bundles/sha256-%s/bundle.json", home, hex);
    rc = fs_read_file(path, BUNDLE_JSON_MAX, &text, err);
    if (rc < 0) {
        return error_set(err, rc,
                         "its bundle is not in this state directory: deploy the function again");
    }
    rc = jparse_object(strbuf_slice(&text), BUNDLE_JSON_MAX, &b.root, err);
    if (rc < 0) {
        return error_prefix(err, rc, "%s", path);
    }
    const char *workdir = jpeek_cstr(b.root, "workdir");
    b.workdir = workdir && workdir[0] == '/' ? xstrdup(workdir)
                                             : xasprintf("%s/bundles/sha256-%s/files", home, hex);
    *out = b;
    return 0;
}

void bundle_fini(struct bundle *b)
{
    json_decref(b->root);
    free(b->workdir);
    *b = (struct bundle){0};
}
