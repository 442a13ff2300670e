// SPDX-License-Identifier: Apache-2.0
// Input: lines "key=value"; the odd ones go to the ConfigMap, the even ones to a revision's
// annotations. What is accepted must resolve to numbers that the decider can work with.

#include "serving/autoscaler_config.h"
#include "fuzz.h"

#define PAIRS_MAX 32

static size_t split(struct slice text, struct config_pair *config, struct config_pair *notes,
                    size_t *out_notes)
{
    size_t n[2] = {0, 0};
    struct config_pair *to[2] = {config, notes};
    for (size_t line = 0; text.len > 0 && n[line % 2] < PAIRS_MAX; line++) {
        const char *end = memchr(text.ptr, '\n', text.len);
        size_t len = end ? (size_t)(end - text.ptr) : text.len;
        const char *eq = memchr(text.ptr, '=', len);
        if (eq) {
            size_t key = (size_t)(eq - text.ptr);
            to[line % 2][n[line % 2]++] =
                (struct config_pair){{text.ptr, key}, {eq + 1, len - key - 1}};
        }
        len += end ? 1 : 0;
        text = (struct slice){text.ptr + len, text.len - len};
    }
    *out_notes = n[1];
    return n[0];
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct config_pair config[PAIRS_MAX];
    struct config_pair notes[PAIRS_MAX];
    struct autoscaler_config parsed;
    struct scaling_spec spec;
    struct error err;
    size_t n_notes;
    size_t n = split((struct slice){(const char *)data, size}, config, notes, &n_notes);

    if (autoscaler_config_parse(config, n, &parsed, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        autoscaler_config_default(&parsed);
    }
    scaling_spec_resolve(&parsed, notes, n_notes, size % 3, &spec);
    MUST_HOLD(spec.target >= 0.01 && spec.total > 0);
    MUST_HOLD(spec.stable_window_s >= 1 && spec.panic_window_s >= 1);
    MUST_HOLD(spec.panic_window_s <= spec.stable_window_s);
    MUST_HOLD(spec.max_scale_up_rate > 1 && spec.max_scale_down_rate > 1);
    MUST_HOLD(spec.min_scale >= 0 && spec.max_scale >= 0);
    return 0;
}
