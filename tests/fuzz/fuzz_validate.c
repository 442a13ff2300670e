// SPDX-License-Identifier: Apache-2.0
// Input: a letter for the kind and the features, then an object as JSON, and after a zero byte
// perhaps the object that is stored. Whatever it is: defaulting twice is the same as once, what was
// refused has a reason, what is valid stays valid, and an update by itself changes nothing.

#include "base/mem.h"
#include "json/jedit.h"
#include "json/jparse.h"
#include "serving/defaults.h"
#include "fuzz.h"

enum { OBJECT_MAX = 1 << 20 };

static const enum kind_id kinds[] = {
    KIND_SERVICE,       KIND_CONFIGURATION, KIND_REVISION,          KIND_ROUTE,
    KIND_DOMAINMAPPING, KIND_PODAUTOSCALER, KIND_CLUSTERDOMAINCLAIM};

static void set_features(struct features *features, uint8_t how)
{
    for (size_t i = 0; i < FEATURE_COUNT; i++) {
        if ((how & 0x60) != 0) { /* small letters: all open; capitals: the defaults */
            features->values[i] = (how & 0x20) != 0 ? FEATURE_ENABLED : features->values[i];
        }
    }
}

static void admitted(const struct serving_config *config, const struct kind *kind, json_t *object,
                     const json_t *old)
{
    struct serving_request request = {.kind = kind, .old = old, .user = "ann"};
    struct serving_report report;
    struct error err = {0};
    serving_report_init(&report);
    if (serving_default_request(config, &request, object, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        MUST_HOLD(serving_validate_request(config, &request, object, &report) < 0 || old != NULL);
        serving_report_fini(&report);
        return;
    }
    CLEANUP(jfree) json_t *once = json_deep_copy(object);
    MUST_HOLD(serving_default_request(config, &request, object, &err) == 0);
    MUST_HOLD(jequal(once, object));
    int rc = serving_validate_request(config, &request, object, &report);
    MUST_HOLD(jequal(once, object));
    MUST_HOLD((rc == 0) == (report.errors.len == 0));
    if (rc == 0) { /* stored as it is, it may be sent again */
        struct serving_request again = {.kind = kind, .old = once, .user = "ann"};
        MUST_HOLD(serving_default_request(config, &again, object, &err) == 0);
        MUST_HOLD(serving_validate_request(config, &again, object, &report) == 0);
    }
    serving_report_fini(&report);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct serving_config config;
    CLEANUP(jfree) json_t *object = NULL;
    CLEANUP(jfree) json_t *old = NULL;
    if (size < 2) {
        return 0;
    }
    serving_config_init(&config);
    set_features(&config.features, data[0]);
    const struct kind *kind = kind_row(kinds[(data[0] & 0x1f) % ARRAY_LEN(kinds)]);
    struct slice text = {(const char *)data + 1, size - 1};
    ptrdiff_t end = slice_find(text, '\0');
    if (end >= 0) {
        struct slice stored = slice_sub(text, (size_t)end + 1, text.len);
        if (jparse(stored, OBJECT_MAX, &old, NULL) < 0) {
            old = NULL;
        }
        text = slice_sub(text, 0, (size_t)end);
    }
    if (jparse(text, OBJECT_MAX, &object, NULL) == 0) {
        admitted(&config, kind, object, old);
    }
    return 0;
}
