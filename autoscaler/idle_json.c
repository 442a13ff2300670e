// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One member per bin that is not empty. Failure modes: what is out of bounds, or was counted
 * in other bins, is left out: learning begins anew then.
 */
#include "autoscaler/idle_json.h"

#include "base/clock.h"
#include "base/num.h"
#include "json/jget.h"

json_t *idle_to_json(const struct idle *idle)
{
    json_t *counts = json_object();
    char text[CLOCK_RFC3339_MAX];
    for (uint32_t i = 0; i < IDLE_BINS; i++) {
        if (idle->bins[i] > 0) {
            snprintf(text, sizeof(text), "%u", i);
            json_object_set_new(counts, text, json_integer(idle->bins[i]));
        }
    }
    json_t *json = json_pack("{s:f, s:o, s:I}", "bin", (double)idle->bin_ms / 1000, "counts",
                             counts, "beyond", (json_int_t)idle->beyond);
    if (idle->last_ms > 0) {
        int64_t wall_ns = ((int64_t)idle->last_ms + idle->wall_ms) * (int64_t)CLOCK_NS_PER_MS;
        json_object_set_new(json, "last",
                            json_string(clock_format_rfc3339(wall_ns, 3, text, sizeof(text))));
    }
    return json;
}

static void read_counts(struct idle *idle, json_t *counts)
{
    const char *key;
    json_t *value;
    json_object_foreach(counts, key, value)
    {
        uint64_t bin;
        json_int_t count = json_integer_value(value);
        if (num_parse_u64(slice_str(key), 0, IDLE_BINS - 1, &bin, NULL) == 0 && count > 0 &&
            count < (json_int_t)IDLE_COUNT_MAX && idle->bins[bin] == 0) {
            idle_add(idle, bin * idle->bin_ms, (uint32_t)count);
        }
    }
}

void idle_from_json(struct idle *idle, const json_t *json, uint64_t now_ms)
{
    double bin = 0;
    int64_t wall_ns;
    if (jget_double(json, "bin", &bin, NULL) == 0 && bin * 1000 == (double)idle->bin_ms) {
        json_int_t beyond = jpeek_i64(json, "beyond");
        read_counts(idle, jpeek_obj(json, "counts"));
        if (beyond > 0 && beyond < (json_int_t)IDLE_COUNT_MAX) {
            idle_add(idle, (uint64_t)IDLE_BINS * idle->bin_ms, (uint32_t)beyond);
        }
    }
    if (clock_parse_rfc3339(jpeek_str(json, "last"), &wall_ns, NULL) == 0) {
        int64_t last_ms = wall_ns / (int64_t)CLOCK_NS_PER_MS - idle->wall_ms;
        if (last_ms > 0 && (uint64_t)last_ms <= now_ms) {
            idle->last_ms = (uint64_t)last_ms;
        }
    }
}
