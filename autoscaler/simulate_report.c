// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Numbers of a row are made in one place and written as a table or as JSON, in the C locale's
 * forms only: the same run gives the same bytes everywhere.
 */
#include <math.h>

#include "json/jbuild.h"
#include "json/jparse.h"
#include "autoscaler/simulate.h"

uint64_t sim_wait_quantile(const struct sim_result *r, double share)
{
    uint64_t served = r->at_once + r->waits.count;
    double rank = ceil(share * (double)served);
    if (served == 0 || rank <= (double)r->at_once) {
        return 0;
    }
    return histogram_quantile(&r->waits, (rank - (double)r->at_once) / (double)r->waits.count);
}

double sim_cold_quantile(const struct sim_outcome *o, const struct sim_row *row, double share)
{
    if (o->functions == 0) {
        return 0;
    }
    uint64_t rank = (uint64_t)ceil(share * (double)o->functions);
    return (double)row->cold_shares[rank > 0 ? rank - 1 : 0];
}

static double per(uint64_t part, uint64_t whole)
{
    return whole == 0 ? 0 : (double)part / (double)whole;
}

static bool better(const struct sim_row *a, const struct sim_row *b, bool cheaper)
{
    const struct sim_result *x = a->result;
    const struct sim_result *y = b->result;
    uint64_t first[2] = {cheaper ? x->replica_us : x->cold, cheaper ? y->replica_us : y->cold};
    uint64_t second[2] = {cheaper ? x->cold : x->replica_us, cheaper ? y->cold : y->replica_us};
    return first[0] < first[1] || (first[0] == first[1] && second[0] < second[1]);
}

static int suggest(const struct sim_outcome *o, bool cheaper)
{
    int best = -1;
    for (size_t i = 1; i < o->count; i++) {
        const struct sim_result *r = o->rows[i].result;
        const struct sim_result *first = o->rows[0].result;
        bool allowed = cheaper ? r->cold <= first->cold && r->refused <= first->refused
                               : r->replica_us <= first->replica_us && r->refused <= first->refused;
        if (allowed && better(&o->rows[i], &o->rows[best < 0 ? 0 : best], cheaper)) {
            best = (int)i;
        }
    }
    return best;
}

int sim_suggest_faster(const struct sim_outcome *o)
{
    return suggest(o, false);
}

int sim_suggest_cheaper(const struct sim_outcome *o)
{
    return suggest(o, true);
}

static void append_wait(struct strbuf *out, uint64_t us)
{
    char text[32];
    if (us < 10000) {
        snprintf(text, sizeof(text), "%.1fms", (double)us / 1e3);
    } else if (us < 1000000) {
        snprintf(text, sizeof(text), "%.0fms", (double)us / 1e3);
    } else {
        snprintf(text, sizeof(text), "%.2fs", (double)us / 1e6);
    }
    strbuf_appendf(out, " %8s", us == 0 ? "0" : text);
}

static void append_row(const struct sim_outcome *o, const struct sim_row *row, int width,
                       struct strbuf *out)
{
    const struct sim_result *r = row->result;
    strbuf_appendf(out, "%-*s %12llu %6.2f%% %7.1f%%", width, row->setting->name,
                   (unsigned long long)r->cold, 100 * per(r->cold, r->invocations),
                   100 * sim_cold_quantile(o, row, 0.75));
    append_wait(out, sim_wait_quantile(r, 0.5));
    append_wait(out, sim_wait_quantile(r, 0.95));
    append_wait(out, sim_wait_quantile(r, 0.99));
    strbuf_appendf(out, " %12.0f %6.1f%% %9llu %8llu\n", (double)r->replica_us / 1e6,
                   100 * (1 - per(r->used_us, r->replica_us)), (unsigned long long)r->starts,
                   (unsigned long long)r->refused);
}

static void append_suggestion(const struct sim_outcome *o, int row, const char *what,
                              struct strbuf *out)
{
    if (row < 0) {
        strbuf_appendf(out, "%s: nothing that was tried is better than %s.\n", what,
                       o->rows[0].setting->name);
        return;
    }
    const struct sim_result *now = o->rows[0].result;
    const struct sim_result *then = o->rows[row].result;
    strbuf_appendf(out,
                   "%s: %s (%llu cold starts instead of %llu, %.0f replica seconds instead "
                   "of %.0f).\n",
                   what, o->rows[row].setting->name, (unsigned long long)then->cold,
                   (unsigned long long)now->cold, (double)then->replica_us / 1e6,
                   (double)now->replica_us / 1e6);
}

void sim_write_table(const struct sim_outcome *o, struct strbuf *out)
{
    int width = 8;
    for (size_t i = 0; i < o->count; i++) {
        int len = (int)strlen(o->rows[i].setting->name);
        width = len > width ? len : width;
    }
    uint64_t invocations = o->count > 0 ? o->rows[0].result->invocations : 0;
    strbuf_appendf(out, "%llu invocations of %llu functions in %.2f days\n\n",
                   (unsigned long long)invocations, (unsigned long long)o->functions,
                   (double)o->span_us / 86400e6);
    strbuf_appendf(out, "%-*s %12s %7s %8s %8s %8s %8s %12s %7s %9s %8s\n", width, "setting",
                   "cold starts", "of all", "p75 fn", "p50 wait", "p95 wait", "p99 wait",
                   "replica-sec", "wasted", "starts", "refused");
    for (size_t i = 0; i < o->count; i++) {
        append_row(o, &o->rows[i], width, out);
    }
    if (o->suggest) {
        strbuf_append_char(out, '\n');
        append_suggestion(o, sim_suggest_faster(o), "Fewer cold starts for no more replica time",
                          out);
        append_suggestion(o, sim_suggest_cheaper(o), "Less replica time for no more cold starts",
                          out);
    }
}

static void json_row(struct jbuild *b, const struct sim_outcome *o, const struct sim_row *row)
{
    static const double shares[] = {0.25, 0.5, 0.75, 0.95};
    const struct sim_result *r = row->result;
    jbuild_str(b, "settings[+].name", row->setting->name);
    jbuild_i64(b, "settings[-1].invocations", (int64_t)r->invocations);
    jbuild_i64(b, "settings[-1].coldStarts", (int64_t)r->cold);
    jbuild_double(b, "settings[-1].coldShare", per(r->cold, r->invocations));
    for (size_t i = 0; i < ARRAY_LEN(shares); i++) {
        char path[64];
        snprintf(path, sizeof(path), "settings[-1].coldShareOfFunctions.p%.0f", shares[i] * 100);
        jbuild_double(b, path, sim_cold_quantile(o, row, shares[i]));
    }
    jbuild_double(b, "settings[-1].waitSeconds.p50", (double)sim_wait_quantile(r, 0.5) / 1e6);
    jbuild_double(b, "settings[-1].waitSeconds.p95", (double)sim_wait_quantile(r, 0.95) / 1e6);
    jbuild_double(b, "settings[-1].waitSeconds.p99", (double)sim_wait_quantile(r, 0.99) / 1e6);
    jbuild_double(b, "settings[-1].waitSeconds.sum", (double)r->wait_us / 1e6);
    jbuild_double(b, "settings[-1].replicaSeconds", (double)r->replica_us / 1e6);
    jbuild_double(b, "settings[-1].usedSeconds", (double)r->used_us / 1e6);
    jbuild_double(b, "settings[-1].wastedSeconds",
                  ((double)r->replica_us - (double)r->used_us) / 1e6);
    jbuild_i64(b, "settings[-1].starts", (int64_t)r->starts);
    jbuild_i64(b, "settings[-1].refused", (int64_t)r->refused);
}

int sim_write_json(const struct sim_outcome *o, struct strbuf *out, struct error *err)
{
    struct jbuild b;
    jbuild_init(&b);
    jbuild_i64(&b, "functions", (int64_t)o->functions);
    jbuild_double(&b, "spanSeconds", (double)o->span_us / 1e6);
    jbuild_arr(&b, "settings");
    for (size_t i = 0; i < o->count; i++) {
        json_row(&b, o, &o->rows[i]);
    }
    if (o->suggest) {
        int faster = sim_suggest_faster(o);
        int cheaper = sim_suggest_cheaper(o);
        jbuild_obj(&b, "suggested");
        if (faster >= 0) {
            jbuild_str(&b, "suggested.fewerColdStarts", o->rows[faster].setting->name);
        }
        if (cheaper >= 0) {
            jbuild_str(&b, "suggested.lessReplicaTime", o->rows[cheaper].setting->name);
        }
    }
    CLEANUP(jfree) json_t *json = NULL;
    int rc = jbuild_take(&b, &json, err);
    rc = rc < 0 ? rc : jdump_pretty(json, out, err);
    strbuf_append_char(out, '\n');
    return rc;
}
