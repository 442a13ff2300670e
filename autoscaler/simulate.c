// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. Settings are parsed; files are read into a load, or functions are made up one by one; each
 * function's requests go through one simulation per setting, side by side; the outcome is written.
 * Durations (Azure 2019) are read before counts, whatever the order of the files. All sums are
 * whole numbers, so neither that order nor the functions' changes a byte.
 * Failure modes: wrong usage (2); a file that cannot be read or used, with its line (1).
 */
#include "autoscaler/simulate.h"

#include <errno.h>

#include "base/fs.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/options.h"
#include "autoscaler/simulate_setting.h"
#include "autoscaler/simulate_synthetic.h"
#include "autoscaler/simulate_trace.h"

#define ONLY_MAX     64u
#define COLD_MAX     LOAD_FUNCTIONS_MAX
#define SKIPPED_TEXT "%s: %llu lines are no requests and were skipped\n"

struct options {
    int64_t synthetic;
    double dense;
    double days;
    int64_t seed;
    uint64_t start_ms;
    uint64_t duration_ms;
    uint64_t memory;
    int output; /* 0 table, 1 json */
    char *plot;
    bool suggest;
    bool every_tick;
};

static const struct option_row rows[] = {
    OPTION(struct options, synthetic, INT, NULL, "synthetic", "0", .min = 0,
           .max = LOAD_FUNCTIONS_MAX,
           .help = "make up the traffic of so many functions instead of reading files"),
    OPTION(struct options, days, DOUBLE, NULL, "days", "14", .help = "of made-up traffic"),
    OPTION(struct options, seed, INT, NULL, "seed", "1", .min = 0, .max = INT64_MAX,
           .help = "of made-up traffic: the same seed makes the same"),
    OPTION(struct options, dense, DOUBLE, NULL, "dense", "0",
           .help = "made-up traffic is even: so many requests a second for each function"),
    OPTION(struct options, start_ms, DURATION_MS, NULL, "start-time", "500ms", .min = 0,
           .max = 600000, .help = "from the decision until a replica is ready"),
    OPTION(struct options, duration_ms, DURATION_MS, NULL, "duration", "1s", .min = 0,
           .max = 3600000, .help = "of requests, where the trace does not tell"),
    OPTION(struct options, memory, BYTES, NULL, "memory", "256Mi", .min = 4096,
           .help = "for records of traces; more go to temporary files"),
    OPTION(struct options, output, CHOICE, NULL, "output", "table", .choices = "table|json|text",
           .help = "form of the answer; -o for short"),
    OPTION(struct options, plot, STRING, NULL, "plot", NULL, .optional = true,
           .help = "write a picture (SVG) there"),
    OPTION(struct options, suggest, BOOL, NULL, "suggest", "false",
           .help = "try more settings like the first one, and say which are better"),
    OPTION(struct options, every_tick, BOOL, NULL, "every-tick", "false",
           .help = "make every decision, also those that cannot change anything (slow, the same)"),
};

static const struct option_table table = {
    .program = "lull simulate",
    .summary = "Compares settings of the autoscaler on recorded or made-up traffic, in virtual "
               "time.\n"
               "  --set NAME:KEY=VALUE,…  settings to compare; several times. Without: the\n"
               "                          defaults, ten minutes of retention, and the histogram\n"
               "  --only NAME             only this function of the files; several times\n"
               "  --service NAME          a Service's own recorded traffic, its present settings,\n"
               "                          and what would be better (the command lull only)",
    .arguments = "[FILE…]",
    .rows = rows,
    .count = ARRAY_LEN(rows),
};

struct simulation {
    struct options options;
    const char *sets[SIM_SETTINGS_MAX];
    size_t set_count;
    const char *only[ONLY_MAX];
    size_t only_count;
    struct sim_setting settings[SIM_SETTINGS_MAX];
    struct sim *sims[SIM_SETTINGS_MAX];
    size_t count;
    struct sim_outcome outcome;
    struct load load;
    struct map durations;
    size_t cold_cap;
};

/* --- settings ------------------------------------------------------------------------------ */

static int add_setting(struct simulation *s, const char *text, struct error *err)
{
    if (s->count == SIM_SETTINGS_MAX) {
        return error_set(err, ERR_TOO_BIG, "more than %u settings", SIM_SETTINGS_MAX);
    }
    struct sim_setting *setting = &s->settings[s->count];
    int rc = sim_setting_parse(slice_str(text), s->options.start_ms * 1000, setting, err);
    s->count += rc == 0 ? 1 : 0;
    return rc;
}

/* The first setting with something else: what may be better. */
static int add_candidates(struct simulation *s, const char *first, struct error *err)
{
    static const char *const others[][2] = {
        {"retention-0", "scale-to-zero-pod-retention-period=0s,policy=none"},
        {"retention-1m", "scale-to-zero-pod-retention-period=1m,policy=none"},
        {"retention-4m", "scale-to-zero-pod-retention-period=4m,policy=none"},
        {"retention-9m", "scale-to-zero-pod-retention-period=9m,policy=none"},
        {"retention-29m", "scale-to-zero-pod-retention-period=29m,policy=none"},
        {"retention-59m", "scale-to-zero-pod-retention-period=59m,policy=none"},
        {"histogram-0", "policy=histogram,scale-to-zero-pod-retention-period=0s"},
        {"histogram-4m", "policy=histogram,scale-to-zero-pod-retention-period=4m"},
        {"histogram-9m", "policy=histogram,scale-to-zero-pod-retention-period=9m"},
        {"min-scale-1", "min-scale=1"},
    };
    const char *pairs = strchr(first, ':');
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(others); i++) {
        CLEANUP(cleanup_free)
        char *text = xasprintf("%s:%s%s%s", others[i][0], pairs == NULL ? "" : pairs + 1,
                               pairs == NULL || pairs[1] == '\0' ? "" : ",", others[i][1]);
        rc = add_setting(s, text, err);
    }
    return rc;
}

static int make_settings(struct simulation *s, struct error *err)
{
    static const char *const defaults[] = {
        "defaults", "keep-10m:scale-to-zero-pod-retention-period=9m",
        "histogram:policy=histogram,scale-to-zero-pod-retention-period=9m"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->set_count; i++) {
        rc = add_setting(s, s->sets[i], err);
    }
    bool none = s->set_count == 0 && !s->options.suggest;
    for (size_t i = 0; rc == 0 && none && i < ARRAY_LEN(defaults); i++) {
        rc = add_setting(s, defaults[i], err);
    }
    if (rc == 0 && s->options.suggest) {
        const char *first = s->set_count > 0 ? s->sets[0] : defaults[0];
        rc = s->set_count > 0 ? 0 : add_setting(s, first, err);
        rc = rc < 0 ? rc : add_candidates(s, first, err);
    }
    s->outcome.suggest = s->options.suggest;
    s->outcome.count = s->count;
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        s->sims[i] = sim_new(&s->settings[i], s->options.every_tick);
        s->outcome.rows[i].setting = &s->settings[i];
        s->outcome.rows[i].result = sim_result(s->sims[i]);
    }
    return rc;
}

/* --- one function -------------------------------------------------------------------------- */

static void begin_function(struct simulation *s)
{
    for (size_t i = 0; i < s->count; i++) {
        sim_begin(s->sims[i]);
    }
}

static void arrive(struct simulation *s, uint64_t at_us, uint64_t duration_us)
{
    for (size_t i = 0; i < s->count; i++) {
        sim_arrive(s->sims[i], at_us, duration_us);
    }
}

/* What this function adds to the results; those before it are given. */
static void end_function(struct simulation *s, const struct sim_result *before, uint64_t end_us)
{
    size_t at = s->outcome.functions;
    if (at == s->cold_cap) {
        s->cold_cap = at == 0 ? 1024 : 2 * at;
        for (size_t i = 0; i < s->count; i++) {
            float **shares = &s->outcome.rows[i].cold_shares;
            *shares = xreallocarray(*shares, s->cold_cap, sizeof(**shares));
        }
    }
    bool called = false;
    for (size_t i = 0; i < s->count; i++) {
        sim_end(s->sims[i], end_us);
        const struct sim_result *r = sim_result(s->sims[i]);
        uint64_t invocations = r->invocations - before[i].invocations;
        uint64_t cold = r->cold - before[i].cold;
        called = invocations > 0;
        s->outcome.rows[i].cold_shares[at] =
            invocations == 0 ? 0 : (float)((double)cold / (double)invocations);
    }
    s->outcome.functions += called ? 1 : 0;
}

static void remember(const struct simulation *s, struct sim_result *out)
{
    for (size_t i = 0; i < s->count; i++) {
        out[i] = *sim_result(s->sims[i]);
    }
}

/* --- traffic ------------------------------------------------------------------------------- */

static void run_synthetic(struct simulation *s)
{
    struct synthetic_options o = {.seed = (uint64_t)s->options.seed,
                                  .span_us = (uint64_t)(s->options.days * 86400e6),
                                  .dense_rate = s->options.dense};
    struct sim_result before[SIM_SETTINGS_MAX];
    struct synthetic function;
    for (int64_t i = 0; i < s->options.synthetic; i++) {
        uint64_t at_us;
        uint64_t duration_us;
        remember(s, before);
        begin_function(s);
        synthetic_begin(&function, &o, (uint64_t)i);
        while (synthetic_next(&function, &at_us, &duration_us)) {
            arrive(s, at_us, duration_us);
        }
        end_function(s, before, o.span_us);
    }
    s->outcome.span_us = o.span_us;
}

/* Evenly over the record's span. */
static void arrive_record(struct simulation *s, const struct load_record *r, uint64_t origin_us)
{
    for (uint32_t i = 0; i < r->count; i++) {
        uint64_t offset_us = (uint64_t)((double)r->spread_us * (2.0 * i + 1) / (2.0 * r->count));
        arrive(s, r->at_us - origin_us + offset_us, r->duration_us);
    }
}

static int run_load(struct simulation *s, struct error *err)
{
    struct sim_result before[SIM_SETTINGS_MAX];
    struct load_record r;
    struct load_record next;
    uint64_t origin_us = s->load.begin_us / (2 * SIM_SECOND_US) * (2 * SIM_SECOND_US);
    uint64_t end_us = s->load.end_us - origin_us + SIM_SECOND_US;
    bool running = false;
    int rc = load_finish(&s->load, err);
    int more = rc < 0 ? rc : load_next(&s->load, &r, err);
    while (more > 0) {
        if (!running) {
            remember(s, before);
            begin_function(s);
            running = true;
        }
        more = load_next(&s->load, &next, err);
        if (more > 0 && next.function == r.function && next.count == 0) {
            r.duration_us += next.duration_us / (r.count > 0 ? r.count : 1);
            continue;
        }
        arrive_record(s, &r, origin_us);
        if (more <= 0 || next.function != r.function) {
            end_function(s, before, end_us);
            running = false;
        }
        r = next;
    }
    s->outcome.span_us = s->load.end_us - s->load.begin_us;
    return more;
}

static bool is_wanted(const struct simulation *s, struct slice function)
{
    for (size_t i = 0; i < s->only_count; i++) {
        if (slice_eq_str(function, s->only[i])) {
            return true;
        }
    }
    return s->only_count == 0;
}

static int take_record(void *arg, struct slice function, const struct load_record *record,
                       struct error *err)
{
    struct simulation *s = arg;
    return is_wanted(s, function) ? load_add(&s->load, function, record, err) : 0;
}

/* --- files --------------------------------------------------------------------------------- */

/* Reads up to the next line feed. 1: a line; 0: the end. */
static int next_line(FILE *in, char *buf, struct slice *out, struct error *err)
{
    if (fgets(buf, TRACE_LINE_MAX + 2, in) == NULL) {
        return ferror(in) ? error_set(err, ERR_IO, "cannot be read") : 0;
    }
    size_t len = strlen(buf);
    if (len > TRACE_LINE_MAX) {
        return error_set(err, ERR_TOO_BIG, "is longer than %u bytes", TRACE_LINE_MAX);
    }
    while (len > 0 && (buf[len - 1] == '\n' || buf[len - 1] == '\r')) {
        len--;
    }
    *out = slice_of(buf, len);
    return 1;
}

static int read_lines(FILE *in, const char *file, struct trace *trace, bool durations, char *buf,
                      struct error *err)
{
    struct slice line;
    bool header = true;
    unsigned long number = 1;
    int rc = next_line(in, buf, &line, err);
    if (rc == 0) {
        return error_set(err, ERR_INVALID, "is empty");
    }
    if (rc > 0) {
        rc = trace_begin(trace, file, line, &header, err);
        if (rc < 0) {
            return rc;
        }
        if (durations != (trace->form == TRACE_AZURE_DURATION)) {
            return 0; /* the other pass's */
        }
        rc = header ? 1 : trace_line(trace, line, err);
        rc = rc == 0 ? 1 : rc;
    }
    while (rc > 0) {
        number++;
        rc = next_line(in, buf, &line, err);
        if (rc > 0) {
            int read = trace_line(trace, line, err);
            rc = read < 0 ? read : rc;
        }
    }
    return rc < 0 ? error_prefix(err, rc, "line %lu", number) : 0;
}

/* "…/hello-00001.log" is "hello-00001". */
static char *function_of(const char *file)
{
    const char *slash = strrchr(file, '/');
    const char *name = slash == NULL ? file : slash + 1;
    size_t len = strcspn(name, ".");
    return xstrndup(name, len > 0 ? len : strlen(name));
}

static int read_file(struct simulation *s, const char *file, bool durations, char *buf,
                     struct error *err)
{
    CLEANUP(cleanup_free) char *function = function_of(file);
    struct trace trace = {.function = function,
                          .duration_us = s->options.duration_ms * 1000,
                          .durations = &s->durations,
                          .emit = take_record,
                          .arg = s};
    FILE *in = fopen(file, "re");
    if (in == NULL) {
        return error_prefix(err, error_from_errno(err, errno, "cannot be read"), "%s", file);
    }
    int rc = read_lines(in, file, &trace, durations, buf, err);
    fclose(in);
    if (trace.skipped > 0) {
        fprintf(stderr, SKIPPED_TEXT, file, (unsigned long long)trace.skipped);
    }
    return rc < 0 ? error_prefix(err, rc, "%s", file) : 0;
}

static int run_files(struct simulation *s, char *const *files, int count, struct error *err)
{
    char *buf = xmalloc(TRACE_LINE_MAX + 2);
    int rc = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; rc == 0 && i < count; i++) {
            rc = read_file(s, files[i], pass == 0, buf, err);
        }
    }
    free(buf);
    if (rc == 0 && s->load.invocations == 0) {
        rc = error_set(err, ERR_INVALID,
                       s->only_count > 0 ? "the files have no requests of what --only names"
                                         : "the files have no requests");
    }
    return rc < 0 ? rc : run_load(s, err);
}

/* --- the outcome --------------------------------------------------------------------------- */

static int compare_shares(const void *left, const void *right)
{
    float a = *(const float *)left;
    float b = *(const float *)right;
    return a < b ? -1 : a > b;
}

static int show(struct simulation *s, struct error *err)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, SIM_OUTPUT_MAX);
    for (size_t i = 0; i < s->count; i++) {
        qsort(s->outcome.rows[i].cold_shares, s->outcome.functions, sizeof(float), compare_shares);
    }
    if (s->options.plot != NULL) {
        sim_write_svg(&s->outcome, &out);
        int rc = fs_write_atomic(s->options.plot, strbuf_slice(&out), 0644, err);
        if (rc < 0) {
            return error_prefix(err, rc, "--plot");
        }
        strbuf_clear(&out);
    }
    if (s->options.output == 1) {
        int rc = sim_write_json(&s->outcome, &out, err);
        if (rc < 0) {
            return rc;
        }
    } else {
        sim_write_table(&s->outcome, &out);
    }
    if (fwrite(out.ptr, 1, out.len, stdout) != out.len || fflush(stdout) != 0) {
        return error_from_errno(err, errno, "the answer cannot be written");
    }
    return 0;
}

/* --- the command --------------------------------------------------------------------------- */

/* The value of a flag at argv[*i], which may be the next argument; NULL: it is another flag. */
static const char *value_of(const char *flag, int argc, char *const *argv, int *i)
{
    size_t len = strlen(flag);
    if (strncmp(argv[*i], flag, len) != 0) {
        return NULL;
    }
    if (argv[*i][len] == '=') {
        return argv[*i] + len + 1;
    }
    return argv[*i][len] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

/* Whether the value of this flag is the next argument. */
static bool takes_next(const char *flag)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        if (strcmp(flag, rows[i].flag) == 0) {
            return rows[i].type != OPTION_BOOL;
        }
    }
    return false;
}

/*
 * Takes `--set X` and `--only X` out of argv, writes -o in full and moves files behind the options.
 * False: there are too many of them.
 */
static bool take_repeated(struct simulation *s, int argc, char *const *argv, char **out_argv,
                          char **files, int *out_argc)
{
    char *output = (char *)(uintptr_t) "--output"; /* which nobody writes to */
    int file_count = 0;
    *out_argc = 0;
    for (int i = 0; i < argc; i++) {
        const char *set = value_of("--set", argc, argv, &i);
        const char *only = set != NULL ? NULL : value_of("--only", argc, argv, &i);
        if (set != NULL || only != NULL) {
            size_t *count = set != NULL ? &s->set_count : &s->only_count;
            if (*count == (set != NULL ? SIM_SETTINGS_MAX : ONLY_MAX)) {
                return false;
            }
            (set != NULL ? s->sets : s->only)[(*count)++] = set != NULL ? set : only;
        } else if (i > 0 && argv[i][0] != '-') {
            files[file_count++] = argv[i];
        } else {
            char *arg = strcmp(argv[i], "-o") == 0 ? output : argv[i];
            out_argv[(*out_argc)++] = arg;
            if (strncmp(arg, "--", 2) == 0 && takes_next(arg + 2) && i + 1 < argc) {
                out_argv[(*out_argc)++] = argv[++i];
            }
        }
    }
    memcpy(out_argv + *out_argc, files, (size_t)file_count * sizeof(*files));
    *out_argc += file_count;
    out_argv[*out_argc] = NULL;
    return true;
}

static int run(struct simulation *s, char *const *files, int count, struct error *err)
{
    int rc = make_settings(s, err);
    if (rc < 0) {
        return rc;
    }
    if (s->options.synthetic > 0) {
        run_synthetic(s);
    } else {
        rc = run_files(s, files, count, err);
    }
    return rc < 0 ? rc : show(s, err);
}

static void release(struct simulation *s)
{
    for (size_t i = 0; i < s->count; i++) {
        sim_free(s->sims[i]);
        sim_setting_fini(&s->settings[i]);
        free(s->outcome.rows[i].cold_shares);
    }
    map_foreach (it, &s->durations) {
        free(it.value);
    }
    map_fini(&s->durations);
    load_fini(&s->load);
    options_fini(&table, &s->options);
    free(s);
}

int simulate_main(int argc, char *const *argv)
{
    struct error err = {0};
    struct simulation *s = NEW(struct simulation);
    CLEANUP(cleanup_free) char **rest = xcalloc((size_t)argc + 1, sizeof(*rest));
    CLEANUP(cleanup_free) char **files = xcalloc((size_t)argc + 1, sizeof(*files));
    int rest_count;
    if (!take_repeated(s, argc, argv, rest, files, &rest_count)) {
        fprintf(stderr, "lull simulate: at most %u settings, and %u names with --only\n",
                SIM_SETTINGS_MAX, ONLY_MAX);
        free(s);
        return 2;
    }
    int first = options_main(&table, LULL_VERSION, rest_count, rest, &s->options);
    map_init(&s->durations, MAP_COPY_KEYS);
    load_init(&s->load, s->options.memory);
    int status = 0;
    bool made_up = s->options.synthetic > 0;
    if (made_up == (first < rest_count) || s->options.days <= 0 || s->options.days > 366 ||
        s->options.dense < 0 || s->options.dense > 1e6) {
        fputs("lull simulate: name files, or --synthetic FUNCTIONS (--days up to 366, --dense up "
              "to 1000000)\n",
              stderr);
        status = 2;
    } else if (run(s, rest + first, rest_count - first, &err) < 0) {
        fprintf(stderr, "lull simulate: %s\n", err.msg);
        status = 1;
    }
    release(s);
    return status;
}
