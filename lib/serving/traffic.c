// SPDX-License-Identifier: Apache-2.0
/*
 * Hosts, URLs and the rules of a traffic list.
 * Happy path: text is put together from the configuration. Failure modes: a configuration key that
 * does not parse, a list that breaks a rule: ERR_INVALID with the path.
 */
#include "serving/traffic.h"

#include "base/map.h"
#include "base/num.h"
#include "json/jget.h"
#include "serving/names.h"

enum {
    TARGETS_MAX = 1000,
    HOST_MAX = 1024,
};

void traffic_url(const struct network_config *config, const char *ns, const char *name,
                 const char *tag, struct strbuf *out)
{
    CLEANUP(strbuf_fini) struct strbuf host;
    strbuf_init(&host, HOST_MAX);
    traffic_host(config, ns, name, tag, &host);
    network_url(config, host.ptr, out);
}

/* The template's {{.Name}} and {{.Namespace}}; other text as it is. */
static void expand(const char *text, const char *ns, const char *name, struct strbuf *out)
{
    while (*text != '\0') {
        if (strncmp(text, "{{.Name}}", 9) == 0) {
            strbuf_append_str(out, name);
            text += 9;
        } else if (strncmp(text, "{{.Namespace}}", 14) == 0) {
            strbuf_append_str(out, ns);
            text += 14;
        } else {
            strbuf_append_char(out, *text++);
        }
    }
}

void traffic_address(const struct network_config *config, const char *ns, const char *name,
                     struct strbuf *out)
{
    if (config->address_template[0] != '\0') {
        expand(config->address_template, ns, name, out);
    } else {
        strbuf_appendf(out, "http://%s.%s.svc.%s", name, ns, config->cluster_domain);
    }
}

/* --- rules
 * ---------------------------------------------------------------------------------------- */
