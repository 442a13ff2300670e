// SPDX-License-Identifier: Apache-2.0
//
// The table of kinds answers for what Lull serves; a cluster knows more, and says so at
// /apis/GROUP/VERSION.
#include "cli/resource.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"

struct cli_resource cli_resource_row(const struct kind *row)
{
    return (struct cli_resource){.kind = KUBE_KIND(row),
                                 .singular = row->singular,
                                 .namespaced = row->namespaced,
                                 .row = row};
}

static int discovered(const json_t *list, const char *kind, struct cli_resource *out)
{
    size_t i;
    json_t *r;
    json_array_foreach(jpeek_arr(list, "resources"), i, r)
    {
        const char *plural = jpeek_cstr(r, "name");
        if (strcmp(jpeek_cstr(r, "kind"), kind) != 0 || strchr(plural, '/')) {
            continue;
        }
        const char *singular = jpeek_cstr(r, "singularName");
        out->owned[2] = xstrdup(plural);
        out->owned[3] = xstrdup(singular[0] ? singular : plural);
        out->namespaced = jpeek_bool(r, "namespaced");
        return 0;
    }
    return ERR_NOT_FOUND;
}

// Discovery of one group and version; its path is that of a list without a plural.
static int discover(struct cli *cli, const char *api_version, const char *kind,
                    struct cli_resource *out, struct error *err)
{
    const char *slash = strchr(api_version, '/');
    json_t *list = NULL;

    out->owned[0] = slash ? xstrndup(api_version, (size_t)(slash - api_version)) : xstrdup("");
    out->owned[1] = xstrdup(slash ? slash + 1 : api_version);
    struct kube_call call = {
        .kind = {out->owned[0], out->owned[1], NULL},
    };
    int rc = cli->client ? cli_call(cli, kube_list, &call, &list, err) : ERR_NOT_FOUND;
    rc = rc ? rc : discovered(list, kind, out);
    json_decref(list);
    if (rc == ERR_NOT_FOUND) {
        return error_set(err, rc, "there is no kind %.60s in %.60s here", kind, api_version);
    }
    if (rc < 0) {
        return rc;
    }
    out->kind = (struct kube_kind){out->owned[0], out->owned[1], out->owned[2]};
    out->singular = out->owned[3];
    return 0;
}

int cli_resource_of_object(struct cli *cli, const json_t *object, struct cli_resource *out,
                           struct error *err)
{
    const char *api_version = jpeek_cstr(object, "apiVersion");
    const char *kind = jpeek_cstr(object, "kind");

    if (!api_version[0] || !kind[0]) {
        return error_set(err, ERR_INVALID, "%s is missing", api_version[0] ? "kind" : "apiVersion");
    }
    const struct kind *row = kind_by_object(api_version, kind);
    if (row) {
        *out = cli_resource_row(row);
        return 0;
    }
    struct cli_resource found = {0};
    int rc = discover(cli, api_version, kind, &found, err);
    if (rc < 0) {
        cli_resource_fini(&found);
        return rc;
    }
    *out = found;
    return 0;
}

int cli_resource_of_word(const char *word, struct cli_resource *out, struct error *err)
{
    const struct kind *row = kind_by_word(word);

    if (row) {
        *out = cli_resource_row(row);
        return 0;
    }
    CLEANUP(strbuf_fini) struct strbuf all;
    strbuf_init(&all, 200);
    for (int i = 0; i < KIND_COUNT; i++) {
        strbuf_appendf(&all, "%s%s", i ? ", " : "", kind_row((enum kind_id)i)->plural);
    }
    return error_set(err, ERR_NOT_FOUND, "there is no kind \"%.40s\"; there are %s", word, all.ptr);
}

int cli_manifest_target(struct cli *cli, const struct cli_common *common,
                        const struct cli_resource *resource, json_t *object, struct error *err)
{
    json_t *meta = jpeek_obj(object, "metadata");
    const char *ns = jpeek_cstr(meta, "namespace");

    if (!meta || !jpeek_cstr(meta, "name")[0]) {
        return error_set(err, ERR_INVALID, "metadata.name is missing");
    }
    if (!resource->namespaced) {
        return 0;
    }
    if (ns[0] && common->ns && common->ns[0] && strcmp(ns, common->ns) != 0) {
        return error_set(err, ERR_INVALID,
                         "metadata.namespace is \"%.60s\", and --namespace says \"%.60s\"", ns,
                         common->ns);
    }
    if (!ns[0]) {
        json_object_set_new(meta, "namespace", json_string(cli->ns ? cli->ns : "default"));
    }
    return 0;
}

void cli_resource_fini(struct cli_resource *resource)
{
    for (size_t i = 0; i < ARRAY_LEN(resource->owned); i++) {
        free(resource->owned[i]);
    }
    *resource = (struct cli_resource){0};
}

char *cli_resource_name(const struct cli_resource *resource, const char *name)
{
    const char *group = resource->kind.group;
    return xasprintf("%s%s%s/%s", resource->singular, group[0] ? "." : "", group, name);
}
