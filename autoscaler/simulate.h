// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * lull simulate: settings compared on recorded or made-up traffic, in virtual time, by the code
 * that decides live. docs/simulate.md says what is modelled and what the numbers mean.
 */

#include <stdio.h>

#include "base/strbuf.h"
#include "autoscaler/simulate_load.h"
#include "autoscaler/simulate_run.h"

#define SIM_SETTINGS_MAX 32u
#define SIM_OUTPUT_MAX   (1u << 20)

/* One setting's row. */
struct sim_row {
    const struct sim_setting *setting;
    const struct sim_result *result;
    float *cold_shares; /* owned: of each function that was called, 0 … 1; sorted at the end */
};

/* What is shown. */
struct sim_outcome {
    uint64_t functions; /* that were called */
    uint64_t span_us;
    struct sim_row rows[SIM_SETTINGS_MAX];
    size_t count;
    bool suggest;
};

/* A wait that this share (0 … 1) of all requests stays at or below, microseconds. */
uint64_t sim_wait_quantile(const struct sim_result *r, double share);
/* Share of cold starts that this share of the functions stays at or below. */
double sim_cold_quantile(const struct sim_outcome *o, const struct sim_row *row, double share);

/* Row to be suggested, or -1: fewest cold starts in no more replica time than the first row;
 * least replica time with no more cold starts than the first row. */
int sim_suggest_faster(const struct sim_outcome *o);
int sim_suggest_cheaper(const struct sim_outcome *o);

void sim_write_table(const struct sim_outcome *o, struct strbuf *out);
MUST_CHECK int sim_write_json(const struct sim_outcome *o, struct strbuf *out, struct error *err);
/* A picture: cold starts against replica time, a point per setting; and shares of functions. */
void sim_write_svg(const struct sim_outcome *o, struct strbuf *out);

/* lull-autoscaler simulate …: the exit status. */
MUST_CHECK int simulate_main(int argc, char *const *argv);
