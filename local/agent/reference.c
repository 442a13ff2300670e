// SPDX-License-Identifier: Apache-2.0
//
// The sentences are the kubelet's: people search for them.
#include "local/agent/reference.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/num.h"
#include "base/strbuf.h"
#include "json/jget.h"
#include "json/jtext.h"
#include "local/agent/pod_json.h"

#define LIST_MAX (1u << 18)
#define TEXT_MAX (1u << 18)

// ---- objects and their values

int reference_object(const struct reference_source *source, enum reference_kind kind,
                     const char *name, bool optional, json_t **out, struct error *err)
{
    *out = name[0] ? source->get(kind, name, source->arg) : NULL;
    if (*out || optional) {
        return 0;
    }
    return error_set(err, ERR_NOT_FOUND, "%s \"%.253s\" not found",
                     kind == REFERENCE_SECRET ? "secret" : "configmap", name);
}

static int base64_digit(char c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *at = c ? strchr(alphabet, c) : NULL;
    return at ? (int)(at - alphabet) : -1;
}

// Padded, as the API takes it; line ends within are passed over.
static bool base64_decode(struct slice in, struct reference_value *out)
{
    char *bytes = xmalloc(in.len / 4 * 3 + 4);
    unsigned bits = 0, pending = 0;
    size_t len = 0, digits = 0, padding = 0;
    bool fine = true;

    for (size_t i = 0; i < in.len && fine; i++) {
        int digit = base64_digit(in.ptr[i]);
        if (in.ptr[i] == '\n' || in.ptr[i] == '\r') {
            continue;
        }
        padding += in.ptr[i] == '=';
        digits++;
        fine = in.ptr[i] == '=' ? padding <= 2 : digit >= 0 && padding == 0;
        if (digit >= 0 && fine) {
            bits = (bits << 6 | (unsigned)digit) & 0xffffff;
            pending += 6;
            if (pending >= 8) {
                pending -= 8;
                bytes[len++] = (char)(bits >> pending & 0xff);
            }
        }
    }
    if (!fine || digits % 4 != 0) {
        free(bytes);
        return false;
    }
    bytes[len] = '\0';
    *out = (struct reference_value){bytes, len};
    return true;
}

int reference_value(const json_t *object, enum reference_kind kind, const char *key, bool binary,
                    struct reference_value *out, struct error *err)
{
    const json_t *plain = json_object_get(json_object_get(object, "data"), key);
    const json_t *coded =
        binary ? json_object_get(json_object_get(object, "binaryData"), key) : NULL;

    if (kind == REFERENCE_SECRET) {
        coded = plain;
        plain = NULL;
    }
    if (plain && json_is_string(plain)) {
        out->len = json_string_length(plain);
        out->ptr = slice_dup(slice_of(json_string_value(plain), out->len));
        return 1;
    }
    if (!coded || !json_is_string(coded)) {
        return 0;
    }
    if (!base64_decode(slice_of(json_string_value(coded), json_string_length(coded)), out)) {
        return error_set(err, ERR_INVALID, "the value of key %.253s is not base64", key);
    }
    return 1;
}

// ---- what a Pod says of itself

// "metadata.labels['KEY']": the key, or an empty slice.
static struct slice subscript(const char *path, const char *of)
{
    size_t len = strlen(of), all = strlen(path);

    if (strncmp(path, of, len) != 0 || all < len + 4 || strncmp(path + len, "['", 2) != 0 ||
        strcmp(path + all - 2, "']") != 0) {
        return SLICE_EMPTY;
    }
    return slice_of(path + len + 2, all - len - 4);
}

static void quote(struct strbuf *out, const char *text)
{
    strbuf_append_char(out, '"');
    for (; *text; text++) {
        if (*text == '\n') {
            strbuf_append_str(out, "\\n");
        } else if (*text == '\t') {
            strbuf_append_str(out, "\\t");
        } else {
            if (*text == '"' || *text == '\\') {
                strbuf_append_char(out, '\\');
            }
            strbuf_append_char(out, *text);
        }
    }
    strbuf_append_char(out, '"');
}

// All labels or annotations as lines key="value", in order of the keys.
static char *pairs(const json_t *object)
{
    CLEANUP(cleanup_free) const char **keys = jtext_names(object);
    struct strbuf out;

    strbuf_init(&out, TEXT_MAX * 2);
    for (size_t i = 0; keys[i]; i++) {
        strbuf_append_str(&out, i > 0 ? "\n" : "");
        strbuf_append_str(&out, keys[i]);
        strbuf_append_char(&out, '=');
        quote(&out, json_string_value(json_object_get(object, keys[i])) ?: "");
    }
    char *text = slice_dup(strbuf_slice(&out));
    strbuf_fini(&out);
    return text;
}

int reference_field(const json_t *pod, const char *path, char **out, struct error *err)
{
    static const char *const OF_METADATA[] = {"metadata.name", "metadata.namespace",
                                              "metadata.uid"};
    const struct {
        const char *path;
        const char *value;
    } fixed[] = {{"spec.nodeName", POD_NODE_NAME}, {"spec.serviceAccountName", "default"},
                 {"status.podIP", "127.0.0.1"},    {"status.podIPs", "127.0.0.1"},
                 {"status.hostIP", "127.0.0.1"},   {"status.hostIPs", "127.0.0.1"}};
    static const char *const MAPS[] = {"metadata.labels", "metadata.annotations"};

    for (size_t i = 0; i < ARRAY_LEN(OF_METADATA); i++) {
        if (strcmp(path, OF_METADATA[i]) == 0) {
            *out = xstrdup(jpeek_cstr(pod, path));
            return 0;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(fixed); i++) {
        if (strcmp(path, fixed[i].path) == 0) {
            struct slice own = jpeek_str(pod, path);
            *out = slice_empty(own) ? xstrdup(fixed[i].value) : slice_dup(own);
            return 0;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(MAPS); i++) {
        const json_t *map = jpeek_obj(pod, MAPS[i]);
        struct slice key = subscript(path, MAPS[i]);
        if (strcmp(path, MAPS[i]) == 0) {
            *out = pairs(map);
            return 0;
        }
        if (!slice_empty(key)) {
            CLEANUP(cleanup_free) char *name = slice_dup(key);
            *out = xstrdup(json_string_value(json_object_get(map, name)) ?: "");
            return 0;
        }
    }
    return error_set(err, ERR_UNSUPPORTED,
                     "fieldPath \"%.120s\" is not one of metadata.name, metadata.namespace, "
                     "metadata.uid, metadata.labels['KEY'], metadata.annotations['KEY'], "
                     "spec.nodeName, spec.serviceAccountName, status.podIP, status.hostIP",
                     path);
}

// Without a limit a container may use the whole machine.
static int64_t of_machine_milli(const char *resource)
{
    int64_t pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

    if (strcmp(resource, "limits.cpu") == 0) {
        return sysconf(_SC_NPROCESSORS_ONLN) * 1000;
    }
    return strcmp(resource, "limits.memory") == 0 ? pages * page * 1000 : 0;
}

static int amount_milli(const json_t *container, const char *resource, int64_t *out,
                        struct error *err)
{
    CLEANUP(cleanup_free) char *path = xasprintf("resources.%s", resource);
    struct slice text = jpeek_str(container, path);

    if (slice_empty(text) && strncmp(resource, "requests.", 9) == 0) {
        CLEANUP(cleanup_free) char *limit = xasprintf("resources.limits.%s", resource + 9);
        text = jpeek_str(container, limit);
    }
    if (slice_empty(text)) {
        *out = of_machine_milli(resource);
        return 0;
    }
    return num_parse_quantity_milli(text, out, err);
}

int reference_resource(const json_t *container, const json_t *ref, char **out, struct error *err)
{
    static const char *const KNOWN[] = {"limits.cpu",
                                        "limits.memory",
                                        "requests.cpu",
                                        "requests.memory",
                                        "limits.ephemeral-storage",
                                        "requests.ephemeral-storage"};
    const char *resource = jpeek_cstr(ref, "resource");
    struct slice divisor = jpeek_str(ref, "divisor");
    int64_t amount = 0, by = 1000;
    bool known = false;

    for (size_t i = 0; i < ARRAY_LEN(KNOWN); i++) {
        known = known || strcmp(resource, KNOWN[i]) == 0;
    }
    if (!known) {
        return error_set(err, ERR_UNSUPPORTED, "unsupported container resource : %.120s", resource);
    }
    int rc = amount_milli(container, resource, &amount, err);
    if (rc == 0 && !slice_empty(divisor) && !slice_eq_str(divisor, "0")) {
        rc = num_parse_quantity_milli(divisor, &by, err);
    }
    if (rc < 0 || by <= 0) {
        return rc < 0 ? rc : error_set(err, ERR_INVALID, "divisor must be positive");
    }
    *out = xasprintf("%" PRId64, amount / by + (amount % by > 0));
    return 0;
}

// ---- which objects

static void list_add(struct strbuf *list, enum reference_kind kind, const char *name)
{
    if (name[0]) {
        strbuf_append_char(list, kind == REFERENCE_SECRET ? 's' : 'c');
        strbuf_append_str(list, name);
        strbuf_append_char(list, '\n');
    }
}

static void container_add(struct strbuf *list, const json_t *container)
{
    size_t i;
    json_t *row;

    json_array_foreach(jpeek_arr(container, "envFrom"), i, row)
    {
        list_add(list, REFERENCE_CONFIG_MAP, jpeek_cstr(row, "configMapRef.name"));
        list_add(list, REFERENCE_SECRET, jpeek_cstr(row, "secretRef.name"));
    }
    json_array_foreach(jpeek_arr(container, "env"), i, row)
    {
        const json_t *from = json_object_get(row, "valueFrom");
        if (from) {
            list_add(list, REFERENCE_CONFIG_MAP, jpeek_cstr(from, "configMapKeyRef.name"));
            list_add(list, REFERENCE_SECRET, jpeek_cstr(from, "secretKeyRef.name"));
        }
    }
}

static void volume_add(struct strbuf *list, const json_t *volume)
{
    size_t i;
    json_t *row;

    list_add(list, REFERENCE_CONFIG_MAP, jpeek_cstr(volume, "configMap.name"));
    list_add(list, REFERENCE_SECRET, jpeek_cstr(volume, "secret.secretName"));
    json_array_foreach(jpeek_arr(volume, "projected.sources"), i, row)
    {
        list_add(list, REFERENCE_CONFIG_MAP, jpeek_cstr(row, "configMap.name"));
        list_add(list, REFERENCE_SECRET, jpeek_cstr(row, "secret.name"));
    }
}

char *reference_list(const json_t *pod)
{
    size_t i;
    json_t *row;
    struct strbuf list;

    strbuf_init(&list, LIST_MAX);
    json_array_foreach(jpeek_arr(pod, "spec.containers"), i, row)
    {
        container_add(&list, row);
    }
    json_array_foreach(jpeek_arr(pod, "spec.volumes"), i, row)
    {
        volume_add(&list, row);
    }
    char *text = list.len > 0 ? slice_dup(strbuf_slice(&list)) : NULL;
    strbuf_fini(&list);
    return text;
}

bool reference_has(const char *list, enum reference_kind kind, const char *name)
{
    struct slice rest = slice_str(list), row;

    while (slice_split(&rest, '\n', &row)) {
        if (row.len > 1 && row.ptr[0] == (kind == REFERENCE_SECRET ? 's' : 'c') &&
            slice_eq_str(slice_of(row.ptr + 1, row.len - 1), name)) {
            return true;
        }
    }
    return false;
}
