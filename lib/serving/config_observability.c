// SPDX-License-Identifier: Apache-2.0
/* config-observability. Failure mode: the first key that cannot be read. */
#include "serving/config_observability.h"

#include "serving/config_keys.h"

int observability_config_read(struct observability_config *config, const json_t *data,
                              struct error *err)
{
    struct observability_config next = {.request_log = false};
    int rc = config_bool(data, "logging.enable-request-log", NULL, &next.request_log, err);
    rc = rc < 0 ? rc
                : config_bool(data, "logging.enable-probe-request-log", NULL,
                              &next.request_log_probes, err);
    rc = rc < 0 ? rc
                : config_copy(data, "logging.request-log-template", NULL, next.request_log_template,
                              sizeof(next.request_log_template), err);
    if (rc == 0) {
        *config = next;
    }
    return rc;
}
