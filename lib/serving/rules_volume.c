// SPDX-License-Identifier: Apache-2.0
/*
 * Rules of volumes and of where containers mount them. Failure modes: a source that is not open,
 * none or several sources, a volume without a mount and the other way round, a path that is taken.
 */
#include "base/map.h"
#include "base/mem.h"
#include "serving/gotext.h"
#include "serving/rules.h"

/* The sources that a volume may have here, in the order of Knative's messages. */
static const struct source {
    const char *key;
    int feature; /* enum feature; -1: always open */
    const char *name;
} sources[] = {
    {"secret", -1, NULL},
    {"configMap", -1, NULL},
    {"projected", -1, NULL},
    {"emptyDir", FEATURE_EMPTY_DIR, "EmptyDir"},
    {"persistentVolumeClaim", FEATURE_VOLUME_CLAIM, NULL},
    {"hostPath", FEATURE_HOST_PATH, "HostPath"},
    {"csi", FEATURE_CSI, "CSI"},
    {"ephemeral", FEATURE_EPHEMERAL, "Ephemeral"},
    {"image", FEATURE_IMAGE_VOLUME, "Image"},
};

const json_t *rule_volume(const json_t *volumes, struct slice name)
{
    for (size_t i = json_array_size(volumes); i-- > 0;) {
        const json_t *volume = json_array_get(volumes, i);
        if (slice_eq(rule_text(volume, "name"), name)) {
            return volume;
        }
    }
    return NULL;
}

bool rule_volume_writable(const json_t *volume)
{
    return rule_member(volume, "emptyDir") != NULL ||
           rule_member(volume, "persistentVolumeClaim") != NULL ||
           rule_member(volume, "ephemeral") != NULL;
}

/* --- sources ------------------------------------------------------------------------------- */

static void check_items(struct rules *r, const json_t *source)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(source, "items"), i, item)
    {
        size_t mark = problems_mark(r->p);
        if (rule_text(item, "key").len == 0) {
            problem_missing(r->p, "key");
        }
        if (rule_text(item, "path").len == 0) {
            problem_missing(r->p, "path");
        }
        problems_via_index(r->p, mark, i);
        problems_via(r->p, mark, "items");
    }
}

static void check_downward(struct rules *r, const json_t *source)
{
    size_t i;
    const json_t *item;
    json_array_foreach(json_object_get(source, "items"), i, item)
    {
        bool field = rule_member(item, "fieldRef") != NULL;
        bool resource = rule_member(item, "resourceFieldRef") != NULL;
        size_t mark = problems_mark(r->p);
        if (field == resource) {
            problem_add(r->p, "fieldRef",
                        field ? "Within a single item, cannot set both"
                              : "expected exactly one, got neither");
            problem_path(r->p, "resourceFieldRef");
        }
        if (rule_text(item, "path").len == 0) {
            problem_missing(r->p, "path");
        }
        problems_via_index(r->p, mark, i);
        problems_via(r->p, mark, "items");
    }
}

static void check_projection(struct rules *r, const json_t *projection)
{
    static const char *const keys[] = {"secret", "configMap", "serviceAccountToken", "downwardAPI",
                                       NULL};
    const char *found[ARRAY_LEN(keys)];
    size_t count = 0;
    rule_only(r, projection, TYPE_VolumeProjection, keys);
    for (size_t i = 0; keys[i] != NULL; i++) {
        const json_t *source = rule_member(projection, keys[i]);
        size_t mark = problems_mark(r->p);
        if (source == NULL) {
            continue;
        }
        found[count++] = keys[i];
        if (i < 2) {
            if (rule_text(source, "name").len == 0) {
                problem_missing(r->p, "name");
            }
            check_items(r, source);
        } else if (i == 2 && rule_text(source, "path").len == 0) {
            problem_missing(r->p, "path");
        } else if (i == 3) {
            check_downward(r, source);
        }
        problems_via(r->p, mark, keys[i]);
    }
    if (count != 1) {
        problem_add(r->p, NULL,
                    count == 0 ? "expected exactly one, got neither"
                               : "expected exactly one, got both");
        for (size_t i = 0; i < (count == 0 ? 4 : count); i++) {
            problem_path(r->p, count == 0 ? keys[i] : found[i]);
        }
    }
}

static void check_projected(struct rules *r, const json_t *projected)
{
    size_t i;
    const json_t *projection;
    json_array_foreach(json_object_get(projected, "sources"), i, projection)
    {
        size_t mark = problems_mark(r->p);
        check_projection(r, projection);
        problems_via_index(r->p, mark, i);
        problems_via(r->p, mark, "projected");
    }
}

static void check_empty_dir(struct rules *r, const json_t *dir)
{
    struct slice medium = rule_text(dir, "medium");
    struct slice limit = rule_text(dir, "sizeLimit");
    struct quantity q;
    size_t mark = problems_mark(r->p);
    if (medium.len > 0 && !slice_eq_str(medium, "Memory")) {
        problem_invalid(r->p, "medium", medium);
    }
    if (limit.len > 0 && quantity_parse(limit, &q) && q.nano < 0) {
        char text[QUANTITY_TEXT];
        problem_invalid(r->p, "sizeLimit", slice_str(quantity_print(&q, text)));
    }
    problems_via(r->p, mark, "emptyDir");
}

static void check_image_volume(struct rules *r, const json_t *image)
{
    struct slice policy = rule_text(image, "pullPolicy");
    size_t mark = problems_mark(r->p);
    if (rule_text(image, "reference").len == 0) {
        problem_missing(r->p, "reference");
    }
    if (policy.len > 0 && !slice_eq_str(policy, "IfNotPresent") &&
        !slice_eq_str(policy, "Always") && !slice_eq_str(policy, "Never")) {
        problem_invalid(r->p, "pullPolicy", policy);
    }
    problems_via(r->p, mark, "image");
}

/* --- a volume ------------------------------------------------------------------------------ */

static void check_claim(struct rules *r, const json_t *claim)
{
    struct slice name = rule_text(claim, "claimName");
    if (!rule_on(r, FEATURE_VOLUME_CLAIM)) {
        problem_add(r->p, NULL,
                    "Persistent volume claim support is disabled, but found persistent volume "
                    "claim %.*s",
                    SLICE_FMT(name));
    }
    if (!rule_true(claim, "readOnly") && !rule_on(r, FEATURE_VOLUME_WRITE)) {
        problem_add(r->p, NULL,
                    "Persistent volume write support is disabled, but found persistent volume "
                    "claim %.*s that is not read-only",
                    SLICE_FMT(name));
    }
}

static void check_open(struct rules *r, const json_t *volume)
{
    struct slice name = rule_text(volume, "name");
    const json_t *claim = rule_member(volume, "persistentVolumeClaim");
    if (claim != NULL) {
        check_claim(r, claim);
    }
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (sources[i].name != NULL && rule_member(volume, sources[i].key) != NULL &&
            !rule_on(r, (enum feature)sources[i].feature)) {
            problem_add(r->p, NULL, "%s volume support is disabled, but found %s volume %.*s",
                        sources[i].name, sources[i].name, SLICE_FMT(name));
        }
    }
}

static bool volume_field(const struct rules *r, const json_t *volume, const char *field)
{
    (void)volume;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        if (strcmp(sources[i].key, field) == 0) {
            return sources[i].feature < 0 || rule_open(r, (enum feature)sources[i].feature);
        }
    }
    return strcmp(field, "name") == 0;
}

static void check_sources(struct rules *r, const json_t *volume)
{
    const char *found[ARRAY_LEN(sources)];
    size_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
        const json_t *source = rule_member(volume, sources[i].key);
        if (source == NULL) {
            continue;
        }
        found[count++] = sources[i].key;
        if (i < 2) {
            check_items(r, source);
        } else if (i == 2) {
            check_projected(r, source);
        } else if (i == 3) {
            check_empty_dir(r, source);
        } else if (i + 1 == ARRAY_LEN(sources)) {
            check_image_volume(r, source);
        }
    }
    if (count > 1) {
        problem_add(r->p, NULL, "expected exactly one, got both");
        for (size_t i = 0; i < count; i++) {
            problem_path(r->p, found[i]);
        }
    } else if (count == 0) {
        problem_add(r->p, NULL, "expected exactly one, got neither");
        for (size_t i = 0; i < ARRAY_LEN(sources); i++) {
            if (sources[i].feature < 0 || rule_on(r, (enum feature)sources[i].feature)) {
                problem_path(r->p, sources[i].key);
            }
        }
    }
}

static void check_volume(struct rules *r, const json_t *volume)
{
    struct slice name = rule_text(volume, "name");
    size_t mark = problems_mark(r->p);
    CLEANUP(strbuf_fini) struct strbuf words;
    strbuf_init(&words, WORDS_MAX);
    check_open(r, volume);
    /* As in the reference, what is wrong with the name hides what was found before. */
    if (name.len == 0) {
        problems_drop(r->p, mark);
        problem_missing(r->p, "name");
    } else if (words_dns1123_label(name, " ", &words) > 0) {
        problems_drop(r->p, mark);
        problem_invalid(r->p, "name", name);
    }
    rule_only_if(r, volume, TYPE_Volume, volume_field);
    check_sources(r, volume);
}

void rules_volumes(struct rules *r, const json_t *volumes, const json_t *mounted)
{
    struct map names;
    size_t i;
    const json_t *volume;
    map_init(&names, MAP_COPY_KEYS);
    json_array_foreach(volumes, i, volume)
    {
        struct slice name = rule_text(volume, "name");
        CLEANUP(cleanup_free) char *key = slice_dup(name);
        CLEANUP(cleanup_free) char *quoted = go_quoted(name);
        size_t mark = problems_mark(r->p);
        check_volume(r, volume);
        if (map_set(&names, name, &names) != NULL) {
            problem_add(r->p, "name", "duplicate volume name %s", quoted);
        }
        if (json_object_get(mounted, key) == NULL) {
            problem_add(r->p, "name", "volume with name %s not mounted", quoted);
        }
        problems_via_index(r->p, mark, i);
    }
    map_fini(&names);
}

/* --- mounts -------------------------------------------------------------------------------- */

static void check_mount_path(struct rules *r, struct slice path, struct map *seen)
{
    static const char *const reserved[] = {"/", "/dev", "/dev/log"};
    CLEANUP(cleanup_free) char *clean = go_clean_path(path);
    bool taken = map_set(seen, slice_str(clean), seen) != NULL;
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++) {
        if (strcmp(clean, reserved[i]) == 0) {
            problem_add(r->p, "mountPath", "mountPath \"%s\" is a reserved path", clean);
            return;
        }
    }
    if (path.len == 0) {
        problem_missing(r->p, "mountPath");
    } else if (path.ptr[0] != '/') {
        problem_invalid(r->p, "mountPath", path);
    } else if (taken) {
        CLEANUP(cleanup_free) char *quoted = go_quoted(path);
        problem_add(r->p, "mountPath", "invalid value: %s must be unique", quoted);
    }
}

static void check_propagation(struct rules *r, const json_t *mount)
{
    struct slice propagation = rule_text(mount, "mountPropagation");
    if (rule_member(mount, "mountPropagation") == NULL) {
        return;
    }
    if (!rule_on(r, FEATURE_MOUNT_PROPAGATION)) {
        struct slice name = rule_text(mount, "name");
        problem_add(r->p, NULL,
                    "Volume Mount Propagation support is disabled, but found volume mount %.*s "
                    "with mount propagation",
                    SLICE_FMT(name));
    }
    if (!slice_eq_str(propagation, "None") && !slice_eq_str(propagation, "HostToContainer")) {
        problem_add(r->p, "mountPropagation",
                    "mount propagation should be set to None or HostToContainer");
    }
}

static bool mount_field(const struct rules *r, const json_t *mount, const char *field)
{
    (void)mount;
    return strcmp(field, "name") == 0 || strcmp(field, "readOnly") == 0 ||
           strcmp(field, "mountPath") == 0 || strcmp(field, "subPath") == 0 ||
           (strcmp(field, "mountPropagation") == 0 && rule_open(r, FEATURE_MOUNT_PROPAGATION));
}

static void check_mount(struct rules *r, const json_t *mount, const json_t *volumes,
                        struct map *seen)
{
    const json_t *volume = rule_volume(volumes, rule_text(mount, "name"));
    bool read_only = rule_true(mount, "readOnly");
    rule_only_if(r, mount, TYPE_VolumeMount, mount_field);
    if (volume == NULL) {
        problem_add(r->p, "name", "volumeMount has no matching volume");
    }
    check_mount_path(r, rule_text(mount, "mountPath"), seen);
    if (!rule_volume_writable(volume) && !read_only) {
        problem_add(r->p, "readOnly", "volume mount should be readOnly for this type of volume");
    }
    check_propagation(r, mount);
    if (rule_true(rule_member(volume, "persistentVolumeClaim"), "readOnly") && !read_only) {
        problem_add(r->p, "readOnly", "volume is readOnly but volume mount is not");
    }
}

void rules_mounts(struct rules *r, const json_t *mounts, const json_t *volumes)
{
    struct map seen;
    size_t i;
    const json_t *mount;
    map_init(&seen, MAP_COPY_KEYS);
    json_array_foreach(mounts, i, mount)
    {
        size_t mark = problems_mark(r->p);
        check_mount(r, mount, volumes, &seen);
        problems_via_index(r->p, mark, i);
    }
    map_fini(&seen);
}
