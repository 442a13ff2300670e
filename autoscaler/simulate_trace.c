// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. One function per form. Names of traces are joined from the columns that tell functions
 * apart. Times become microseconds of the wall clock, or of the trace's own beginning.
 * Failure modes: a column that is missing or no number, a time that cannot be; the message names
 * the column. Lines of a request log that are no request (a part's own messages) are skipped.
 */
#include "autoscaler/simulate_trace.h"

#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "json/jget.h"
#include "json/jparse.h"

#define AZURE_2021  "app,func,end_timestamp,duration"
#define AZURE_COUNT "HashOwner,HashApp,HashFunction,Trigger,"
#define AZURE_TIMES "HashOwner,HashApp,HashFunction,Average,"
#define ARRIVALS    "TIMESTAMP,"
#define RECORDED    "# lull traffic 1"
#define MINUTES     1440u
#define MINUTE_US   60000000ull
#define SECOND_US   1000000ull
#define SECONDS_MAX 1e9 /* of a duration, or since a trace's beginning */

/* --- what the forms share ------------------------------------------------------------------ */

static int emit(struct trace *t, struct slice function, const struct load_record *record,
                struct error *err)
{
    if (record->at_us > LOAD_TIME_MAX_US) {
        return error_set(err, ERR_INVALID, "the time is too far away");
    }
    return t->emit(t->arg, function, record, err);
}

/* The next column; what is missing is an error. */
static int column(struct slice *rest, const char *name, struct slice *out, struct error *err)
{
    if (!slice_split(rest, ',', out)) {
        return error_set(err, ERR_INVALID, "column %s is missing", name);
    }
    *out = slice_trim(*out);
    return 0;
}

static int number(struct slice text, const char *name, double min, double max, double *out,
                  struct error *err)
{
    int rc = num_parse_double(text, min, max, out, err);
    return rc < 0 ? error_prefix(err, rc, "%s", name) : 0;
}

static int number_column(struct slice *rest, const char *name, double max, double *out,
                         struct error *err)
{
    struct slice text;
    int rc = column(rest, name, &text, err);
    return rc < 0 ? rc : number(text, name, 0, max, out, err);
}

/* "a/b/c" of the next columns. */
static int join_columns(struct slice *rest, const char *const *names, size_t count,
                        struct strbuf *out, struct error *err)
{
    strbuf_init(out, LOAD_NAME_MAX);
    for (size_t i = 0; i < count; i++) {
        struct slice text;
        int rc = column(rest, names[i], &text, err);
        if (rc < 0) {
            return rc;
        }
        if (i > 0) {
            strbuf_append_char(out, '/');
        }
        strbuf_append_slice(out, text);
    }
    return strbuf_ok(out) ? 0 : error_set(err, ERR_TOO_BIG, "the function's name is too long");
}

/* --- Azure --------------------------------------------------------------------------------- */

static const char *const owner_app_function[] = {"HashOwner", "HashApp", "HashFunction"};

static int azure_2021(struct trace *t, struct slice line, struct error *err)
{
    static const char *const names[] = {"app", "func"};
    CLEANUP(strbuf_fini) struct strbuf name;
    double end;
    double duration;
    int rc = join_columns(&line, names, ARRAY_LEN(names), &name, err);
    rc = rc < 0 ? rc : number_column(&line, "end_timestamp", SECONDS_MAX, &end, err);
    rc = rc < 0 ? rc : number_column(&line, "duration", SECONDS_MAX, &duration, err);
    if (rc < 0) {
        return rc;
    }
    double begin = end > duration ? end - duration : 0; /* cut off at the trace's beginning */
    struct load_record record = {
        .at_us = (uint64_t)(begin * 1e6), .duration_us = (uint64_t)(duration * 1e6), .count = 1};
    return emit(t, strbuf_slice(&name), &record, err);
}

static int azure_duration(struct trace *t, struct slice line, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf name;
    double average_ms;
    int rc = join_columns(&line, owner_app_function, 3, &name, err);
    rc = rc < 0 ? rc : number_column(&line, "Average", SECONDS_MAX, &average_ms, err);
    if (rc < 0) {
        return rc;
    }
    uint64_t *known = map_get(t->durations, strbuf_slice(&name));
    if (known == NULL && map_len(t->durations) < LOAD_FUNCTIONS_MAX) {
        known = NEW(uint64_t);
        map_set(t->durations, strbuf_slice(&name), known);
    }
    if (known != NULL && (uint64_t)(average_ms * 1000) > *known) {
        *known = (uint64_t)(average_ms * 1000); /* the slowest day, whatever the files' order */
    }
    return 0;
}

static int azure_minutes(struct trace *t, struct slice line, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf name;
    struct slice text;
    int rc = join_columns(&line, owner_app_function, 3, &name, err);
    rc = rc < 0 ? rc : column(&line, "Trigger", &text, err);
    if (rc < 0) {
        return rc;
    }
    const uint64_t *known = map_get(t->durations, strbuf_slice(&name));
    struct load_record record = {.duration_us = known != NULL ? *known : t->duration_us,
                                 .spread_us = MINUTE_US};
    for (unsigned minute = 0; rc == 0 && minute < MINUTES; minute++) {
        uint64_t count = 0;
        if (!slice_split(&line, ',', &text)) {
            break;
        }
        text = slice_trim(text);
        if (slice_eq_str(text, "0")) {
            continue;
        }
        rc = num_parse_u64(text, 0, LOAD_COUNT_MAX, &count, err);
        if (rc < 0) {
            return error_prefix(err, rc, "minute %u", minute + 1);
        }
        record.at_us = t->day * TRACE_DAY_US + minute * MINUTE_US;
        record.count = (uint32_t)count;
        rc = count > 0 ? emit(t, strbuf_slice(&name), &record, err) : 0;
    }
    return rc;
}

static int arrivals(struct trace *t, struct slice line, struct error *err)
{
    struct slice text;
    char time[CLOCK_RFC3339_MAX];
    int64_t wall_ns;
    int rc = column(&line, "TIMESTAMP", &text, err);
    if (rc < 0) {
        return rc;
    }
    snprintf(time, sizeof(time), "%.*sZ", SLICE_FMT(slice_sub(text, 0, sizeof(time) - 2)));
    if (strlen(time) > 10 && time[10] == ' ') {
        time[10] = 'T';
    }
    rc = clock_parse_rfc3339(slice_str(time), &wall_ns, err);
    if (rc < 0 || wall_ns < 0) {
        return error_set(err, ERR_INVALID, "TIMESTAMP: is no time: %.*s", SLICE_FMT(text));
    }
    struct load_record record = {
        .at_us = (uint64_t)wall_ns / 1000, .duration_us = t->duration_us, .count = 1};
    return emit(t, slice_str(t->function), &record, err);
}

/* --- ours ---------------------------------------------------------------------------------- */

static int recorded(struct trace *t, struct slice line, struct error *err)
{
    struct slice field[4];
    double value[4];
    if (slice_starts_with(line, SLICE_LIT("#"))) {
        return 0;
    }
    for (size_t i = 0; i < ARRAY_LEN(field); i++) {
        if (!slice_split(&line, ' ', &field[i])) {
            return error_set(err, ERR_INVALID, "must be SECOND FUNCTION REQUESTS MILLISECONDS");
        }
    }
    int rc = number(field[0], "SECOND", 0, 9e9, &value[0], err);
    rc = rc < 0 ? rc : number(field[2], "REQUESTS", 0, LOAD_COUNT_MAX, &value[2], err);
    rc = rc < 0 ? rc : number(field[3], "MILLISECONDS", 0, 1e15, &value[3], err);
    if (rc < 0) {
        return rc;
    }
    uint32_t count = (uint32_t)value[2];
    struct load_record record = {.at_us = (uint64_t)value[0] * SECOND_US,
                                 .duration_us =
                                     (uint64_t)(value[3] * 1000 / (count > 0 ? count : 1)),
                                 .spread_us = count > 0 ? SECOND_US : 0,
                                 .count = count};
    return emit(t, field[1], &record, err);
}

/* "0.0125s" or 0.0125 */
static bool read_latency(const json_t *json, double *out)
{
    struct slice text = slice_str(json_is_string(json) ? json_string_value(json) : "");
    if (json_is_number(json)) {
        *out = json_number_value(json);
        return *out >= 0 && *out <= SECONDS_MAX;
    }
    if (text.len > 1 && text.ptr[text.len - 1] == 's') {
        text.len--;
    }
    return num_parse_double(text, 0, SECONDS_MAX, out, NULL) == 0;
}

static int read_time(const json_t *json, struct slice before, uint64_t *out_us, struct error *err)
{
    int64_t wall_ns;
    struct slice first = SLICE_EMPTY;
    (void)slice_split(&before, ' ', &first);
    struct slice text = !slice_empty(first) ? first : jpeek_str(json, "time");
    text = !slice_empty(text) ? text : jpeek_str(json, "timestamp");
    if (slice_empty(text)) {
        return error_set(err, ERR_INVALID,
                         "there is no time: neither before the entry nor in its field time");
    }
    int rc = clock_parse_rfc3339(text, &wall_ns, err);
    if (rc < 0 || wall_ns < 0) {
        return error_set(err, ERR_INVALID, "time: must be as in 2006-01-02T15:04:05.000Z");
    }
    *out_us = (uint64_t)wall_ns / 1000;
    return 0;
}

static int request(struct trace *t, struct slice line, struct error *err)
{
    const char *brace = memchr(line.ptr, '{', line.len);
    CLEANUP(jfree) json_t *json = NULL;
    CLEANUP(strbuf_fini) struct strbuf name;
    strbuf_init(&name, LOAD_NAME_MAX);
    if (brace == NULL) {
        t->skipped++;
        return 0;
    }
    struct slice before = slice_of(line.ptr, (size_t)(brace - line.ptr));
    struct slice text = slice_of(brace, line.len - before.len);
    int rc = jparse_object(text, TRACE_LINE_MAX, &json, err);
    if (rc < 0) {
        return rc;
    }
    const json_t *latency = jget(json, "httpRequest.latency");
    latency = latency != NULL ? latency : jget(json, "latency");
    if (latency == NULL) {
        t->skipped++;
        return 0;
    }
    double seconds;
    uint64_t end_us;
    if (!read_latency(latency, &seconds)) {
        return error_set(err, ERR_INVALID, "latency: must be seconds");
    }
    rc = read_time(json, before, &end_us, err);
    if (rc < 0) {
        return rc;
    }
    struct slice revision = jpeek_str(json, "revision");
    struct slice ns = jpeek_str(json, "namespace");
    if (!slice_empty(revision)) {
        strbuf_appendf(&name, "%.*s/%.*s", SLICE_FMT(ns), SLICE_FMT(revision));
    } else {
        strbuf_append_str(&name, t->function);
    }
    uint64_t duration_us = (uint64_t)(seconds * 1e6);
    struct load_record record = {.at_us = end_us > duration_us ? end_us - duration_us : 0,
                                 .duration_us = duration_us,
                                 .count = 1};
    return emit(t, strbuf_slice(&name), &record, err);
}

/* --- telling them apart -------------------------------------------------------------------- */

/* "….d07.…" is day 6; without such a part day 0. */
static uint64_t day_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    for (const char *at = slash == NULL ? file : slash; (at = strstr(at, ".d")) != NULL; at += 2) {
        uint64_t day;
        const char *end = strchr(at + 2, '.');
        if (end != NULL &&
            num_parse_u64(slice_of(at + 2, (size_t)(end - at - 2)), 1, 366, &day, NULL) == 0) {
            return day - 1;
        }
    }
    return 0;
}

int trace_begin(struct trace *t, const char *file, struct slice first, bool *out_header,
                struct error *err)
{
    static const struct {
        const char *begin;
        enum trace_form form;
    } forms[] = {{AZURE_2021, TRACE_AZURE_2021},
                 {AZURE_COUNT, TRACE_AZURE_MINUTES},
                 {AZURE_TIMES, TRACE_AZURE_DURATION},
                 {ARRIVALS, TRACE_ARRIVALS},
                 {RECORDED, TRACE_RECORDED}};
    t->day = day_of(file);
    *out_header = true;
    for (size_t i = 0; i < ARRAY_LEN(forms); i++) {
        if (slice_starts_with(first, slice_str(forms[i].begin))) {
            t->form = forms[i].form;
            return 0;
        }
    }
    if (first.len > 0 && memchr(first.ptr, '{', first.len) != NULL) {
        t->form = TRACE_REQUESTS;
        *out_header = false;
        return 0;
    }
    return error_set(
        err, ERR_INVALID,
        "is in no form that is known: neither a request log (JSON lines), nor an Azure "
        "Functions trace of 2019 or 2021, nor recorded by an autoscaler "
        "(docs/simulate.md)");
}

int trace_line(struct trace *t, struct slice line, struct error *err)
{
    line = slice_trim(line);
    if (slice_empty(line)) {
        return 0;
    }
    switch (t->form) {
    case TRACE_REQUESTS:
        return request(t, line, err);
    case TRACE_RECORDED:
        return recorded(t, line, err);
    case TRACE_AZURE_2021:
        return azure_2021(t, line, err);
    case TRACE_AZURE_MINUTES:
        return azure_minutes(t, line, err);
    case TRACE_AZURE_DURATION:
        return azure_duration(t, line, err);
    case TRACE_ARRIVALS:
        break;
    }
    return arrivals(t, line, err);
}
