// SPDX-License-Identifier: Apache-2.0
// Input: one letter that says what follows: a replica's specification (s), or a state line of its
// control socket (l), which must always give a Pod's status that can be written.
#include "json/jget.h"
#include "json/jparse.h"
#include "fuzz.h"
#include "local/agent/pod_json.h"
#include "local/replica/replica.h"

static void spec(const uint8_t *data, size_t size)
{
    static struct replica_spec parsed;
    char *text = malloc(size + 1);

    MUST_HOLD(text != NULL);
    memcpy(text, data, size);
    const char *wrong = replica_spec_parse(&parsed, text, size);
    if (wrong) {
        MUST_HOLD(wrong[0] != '\0');
    } else {
        MUST_HOLD(parsed.argc > 0 && parsed.argc <= REPLICA_MAX_ARGS && parsed.argv[0]);
        MUST_HOLD(!parsed.argv[parsed.argc] && !parsed.envp[parsed.envc]);
        MUST_HOLD(parsed.cwd && parsed.log_path && parsed.proxy);
        for (size_t i = 0; i < parsed.envc; i++) {
            MUST_HOLD(parsed.envp[i] >= text && parsed.envp[i] < text + size);
        }
    }
    free(text);
}

static void line(const uint8_t *data, size_t size)
{
    static const char POD[] =
        "{\"spec\":{\"containers\":[{\"name\":\"user-container\",\"image\":\"i\"},"
        "{\"name\":\"queue-proxy\",\"image\":\"\"}]}}";
    struct replica_state state;
    struct pod_trouble trouble = {0};
    struct error err;
    json_t *pod = NULL, *patch = NULL;

    if (replica_state_parse((const char *)data, size, &state, &err) < 0) {
        MUST_HOLD(err.msg[0] != '\0');
        return;
    }
    MUST_HOLD(jparse_object(slice_str(POD), sizeof POD, &pod, &err) == 0);
    MUST_HOLD(pod_status_build(pod, &state, &trouble, 1, &patch, &err) == 0);
    MUST_HOLD(json_array_size(jpeek_arr(patch, "status.containerStatuses")) == 2);
    json_decref(patch);
    json_decref(pod);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0 && data[0] == 's') {
        spec(data + 1, size - 1);
    } else if (size > 0 && data[0] == 'l') {
        line(data + 1, size - 1);
    }
    return 0;
}
