// SPDX-License-Identifier: Apache-2.0
/*
 * Options. Happy path: collect the text of each row (flag, else environment, else default), then
 * convert all of them. Failure: every problem becomes one line; after the last row the strings
 * that were filled are released again and the whole call fails.
 */
#include "base/options.h"

#include "base/mem.h"
#include "base/num.h"

/* Where a row's text came from, for the sentence. */
struct given {
    const char *text; /* borrowed from argv, the environment or the table */
    bool flag;
};

static bool accepts_bare(const struct option_row *row)
{
    return row->type == OPTION_BOOL;
}

static const char *env_of(const char *name)
{
    return getenv(name);
}

static const struct option_row *find_flag(const struct option_table *table, struct slice name)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        if ((row->flag != NULL && slice_eq_str(name, row->flag)) ||
            (row->also != NULL && slice_eq_str(name, row->also))) {
            return &table->rows[i];
        }
    }
    return NULL;
}

/* One "--flag", "--flag=value", "--flag value" at argv[i]; returns how many it used. */
static int take_flag(const struct option_table *table, int argc, char *const *argv, int i,
                     struct given *given, struct strbuf *problems)
{
    struct slice arg = slice_str(argv[i] + 2);
    ptrdiff_t eq = slice_find(arg, '=');
    struct slice name = eq < 0 ? arg : slice_sub(arg, 0, (size_t)eq);
    const struct option_row *row = find_flag(table, name);
    bool negated = false;
    if (row == NULL && eq < 0 && slice_starts_with(name, SLICE_LIT("no-"))) {
        row = find_flag(table, slice_sub(name, 3, name.len));
        row = row != NULL && accepts_bare(row) ? row : NULL;
        negated = true;
    }
    if (row == NULL) {
        strbuf_appendf(problems, "--%.*s: no such option (see --help)\n", SLICE_FMT(name));
        return 1;
    }
    struct given *g = &given[row - table->rows];
    g->flag = true;
    if (eq >= 0) {
        g->text = argv[i] + 2 + eq + 1;
        return 1;
    }
    if (accepts_bare(row)) {
        g->text = negated ? "false" : "true";
        return 1;
    }
    if (i + 1 >= argc) {
        strbuf_appendf(problems, "--%s: a value is missing\n", row->flag);
        g->text = row->def;
        return 1;
    }
    g->text = argv[i + 1];
    return 2;
}

/* Returns the index of the first positional argument. */
static int take_arguments(const struct option_table *table, int argc, char *const *argv,
                          struct given *given, struct options_result *out, struct strbuf *problems)
{
    int i = 1;
    while (i < argc) {
        const char *arg = argv[i];
        if (strcmp(arg, "--") == 0) {
            return i + 1;
        }
        if (strcmp(arg, "--help") == 0 || strcmp(arg, "-h") == 0) {
            out->help = true;
            i++;
        } else if (strcmp(arg, "--version") == 0) {
            out->version = true;
            i++;
        } else if (strncmp(arg, "--", 2) == 0) {
            i += take_flag(table, argc, argv, i, given, problems);
        } else {
            break;
        }
    }
    if (i < argc && table->arguments == NULL) {
        strbuf_appendf(problems, "%s: no arguments are expected here (see --help)\n", argv[i]);
    }
    return i;
}

static int convert_choice(const struct option_row *row, const char *text, int *out,
                          struct error *err)
{
    struct slice rest = slice_str(row->choices);
    struct slice word;
    for (int i = 0; slice_split(&rest, '|', &word); i++) {
        if (slice_eq_str(word, text)) {
            *out = i;
            return 0;
        }
    }
    return error_set(err, ERR_INVALID, "\"%.60s\" is not one of %s", text, row->choices);
}

static const char *unit_of(const struct option_row *row)
{
    return row->type == OPTION_DURATION_MS ? " ms" : row->type == OPTION_BYTES ? " bytes" : "";
}

static int check_bounds(const struct option_row *row, int64_t value, struct error *err)
{
    if (row->min < row->max && (value < row->min || value > row->max)) {
        const char *unit = unit_of(row);
        return error_set(err, ERR_INVALID, "%lld%s is outside %lld to %lld%s", (long long)value,
                         unit, (long long)row->min, (long long)row->max, unit);
    }
    return 0;
}

static int convert_number(const struct option_row *row, const char *text, void *at,
                          struct error *err)
{
    int64_t value = 0;
    int rc = 0;
    if (row->type == OPTION_DURATION_MS) {
        rc = num_parse_duration_ns(slice_str(text), &value, err);
        value /= 1000000;
    } else if (row->type == OPTION_BYTES) {
        rc = num_parse_quantity(slice_str(text), &value, err);
    } else {
        rc = num_parse_i64(slice_str(text), INT64_MIN, INT64_MAX, &value, err);
    }
    if (rc == 0) {
        rc = check_bounds(row, value, err);
    }
    if (rc == 0 && value < 0 && row->type != OPTION_INT) {
        rc = error_set(err, ERR_INVALID, "must not be negative");
    }
    if (rc == 0) {
        memcpy(at, &value, sizeof(value)); /* uint64_t and int64_t are the same bytes here */
    }
    return rc;
}

static int convert(const struct option_row *row, const char *text, void *dest, struct error *err)
{
    char *at = (char *)dest + row->offset;
    switch (row->type) {
    case OPTION_STRING: {
        char *copy = xstrdup(text);
        memcpy(at, &copy, sizeof(copy));
        return 0;
    }
    case OPTION_BOOL: {
        bool on;
        int rc = num_parse_bool(slice_str(text), &on, err);
        if (rc == 0) {
            memcpy(at, &on, sizeof(on));
        }
        return rc;
    }
    case OPTION_DOUBLE: {
        double x;
        bool bounded = row->min < row->max;
        int rc = num_parse_double(slice_str(text), bounded ? (double)row->min : -1e308,
                                  bounded ? (double)row->max : 1e308, &x, err);
        if (rc == 0) {
            memcpy(at, &x, sizeof(x));
        }
        return rc;
    }
    case OPTION_CHOICE: {
        int choice;
        int rc = convert_choice(row, text, &choice, err);
        if (rc == 0) {
            memcpy(at, &choice, sizeof(choice));
        }
        return rc;
    }
    case OPTION_INT:
    case OPTION_DURATION_MS:
    case OPTION_BYTES:
        return convert_number(row, text, at, err);
    }
    return error_set(err, ERR_INTERNAL, "option of an unknown type");
}

static void row_name(const struct option_row *row, bool flag, char *buf, size_t size)
{
    if (row->flag != NULL && (flag || row->env == NULL)) {
        snprintf(buf, size, "--%s", row->flag);
    } else {
        snprintf(buf, size, "%s", row->env == NULL ? "(option)" : row->env);
    }
}

/* "0 to 65535 bytes"; false without bounds. A bound that only says "any number" is none. */
static bool put_bounds(const struct option_row *row, const char *before, struct strbuf *out)
{
    if (row->min >= row->max) {
        return false;
    }
    if (row->max == INT64_MAX) {
        strbuf_appendf(out, "%sat least %lld%s", before, (long long)row->min, unit_of(row));
    } else {
        strbuf_appendf(out, "%s%lld to %lld%s", before, (long long)row->min, (long long)row->max,
                       unit_of(row));
    }
    return true;
}

static void fill_row(const struct option_row *row, const struct given *given, void *dest,
                     struct strbuf *problems)
{
    char name[80];
    struct error err;
    row_name(row, given->flag, name, sizeof(name));
    if (given->text == NULL) {
        if (!row->optional) {
            strbuf_appendf(problems, "%s: missing: %s%s%s%s\n", name, row->help,
                           row->flag != NULL && row->env != NULL ? " (or set --" : "",
                           row->flag != NULL && row->env != NULL ? row->flag : "",
                           row->flag != NULL && row->env != NULL ? ")" : "");
        }
        return;
    }
    if (convert(row, given->text, dest, &err) < 0) {
        strbuf_appendf(problems, "%s: %s", name, row->secret ? "the value is not valid" : err.msg);
        bool allowed =
            strstr(err.msg, "outside") == NULL && put_bounds(row, " (allowed: ", problems);
        strbuf_append_str(problems, allowed ? ")\n" : "\n");
    }
}

int options_parse(const struct option_table *table, int argc, char *const *argv,
                  const char *(*getenv_fn)(const char *name), void *dest,
                  struct options_result *out, struct strbuf *problems)
{
    *out = (struct options_result){0};
    if (getenv_fn == NULL) {
        getenv_fn = env_of;
    }
    CLEANUP(cleanup_free) struct given *given = xcalloc(table->count, sizeof(*given));
    out->argi = take_arguments(table, argc, argv, given, out, problems);
    if (out->help || out->version) {
        strbuf_clear(problems);
        return 0;
    }
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        const char *env = row->env == NULL ? NULL : getenv_fn(row->env);
        if (given[i].text == NULL && env != NULL && *env != '\0') {
            given[i].text = env;
        }
        if (given[i].text == NULL) {
            given[i].text = row->def;
        }
        fill_row(row, &given[i], dest, problems);
    }
    if (problems->len > 0 || !strbuf_ok(problems)) {
        options_fini(table, dest);
        return ERR_INVALID;
    }
    return 0;
}

void options_fini(const struct option_table *table, void *dest)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->rows[i].type == OPTION_STRING) {
            char *at = (char *)dest + table->rows[i].offset;
            char *text;
            memcpy(&text, at, sizeof(text));
            free(text);
            text = NULL;
            memcpy(at, &text, sizeof(text));
        }
    }
}

static const char *type_word(const struct option_row *row)
{
    switch (row->type) {
    case OPTION_STRING:
        return "TEXT";
    case OPTION_BOOL:
        return "true|false";
    case OPTION_INT:
        return "N";
    case OPTION_DOUBLE:
        return "X";
    case OPTION_DURATION_MS:
        return "DURATION";
    case OPTION_BYTES:
        return "SIZE";
    case OPTION_CHOICE:
        return row->choices;
    }
    return "";
}

void options_help(const struct option_table *table, struct strbuf *out)
{
    strbuf_appendf(out, "%s: %s\n\nUsage: %s [options]%s%s\n\nOptions:\n", table->program,
                   table->summary, table->program, table->arguments == NULL ? "" : " ",
                   table->arguments == NULL ? "" : table->arguments);
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        if (row->flag != NULL) {
            strbuf_appendf(out, "  --%s%s%s", row->flag, accepts_bare(row) ? "" : " ",
                           accepts_bare(row) ? "" : type_word(row));
            strbuf_appendf(out, "%s%s\n", row->also == NULL ? "" : ", --",
                           row->also == NULL ? "" : row->also);
        } else {
            strbuf_appendf(out, "  %s=%s\n", row->env, type_word(row));
        }
        strbuf_appendf(out, "        %s", row->help == NULL ? "" : row->help);
        strbuf_append_str(out, put_bounds(row, " (", out) ? ")" : "");
        if (row->def != NULL && *row->def != '\0') {
            strbuf_appendf(out, " (default %s)", row->def);
        }
        if (row->flag != NULL && row->env != NULL) {
            strbuf_appendf(out, " [%s]", row->env);
        }
        strbuf_append_char(out, '\n');
    }
    strbuf_append_str(out, "  --help, --version\n");
    if (table->examples != NULL) {
        strbuf_appendf(out, "\nExamples:\n%s", table->examples);
    }
}

/* A table cell: "|" would end it. */
static void put_cell(struct strbuf *out, const char *text, bool code)
{
    code = code && *text != '\0';
    strbuf_append_str(out, code ? " `" : " ");
    for (; *text != '\0'; text++) {
        if (*text == '|') {
            strbuf_append_char(out, '\\');
        }
        strbuf_append_char(out, *text);
    }
    strbuf_append_str(out, code ? "` |" : " |");
}

void options_markdown(const struct option_table *table, struct strbuf *out)
{
    strbuf_appendf(out,
                   "## %s\n\n%s\n\n| environment | flag | value | default | meaning |\n"
                   "|---|---|---|---|---|\n",
                   table->program, table->summary);
    for (size_t i = 0; i < table->count; i++) {
        const struct option_row *row = &table->rows[i];
        char flag[80] = "";
        if (row->flag != NULL) {
            snprintf(flag, sizeof(flag), "--%s", row->flag);
        }
        strbuf_append_char(out, '|');
        put_cell(out, row->env == NULL ? "" : row->env, row->env != NULL);
        put_cell(out, flag, row->flag != NULL);
        put_cell(out, type_word(row), true);
        bool has_default = row->def != NULL && *row->def != '\0';
        put_cell(out,
                 has_default                          ? row->def
                 : row->def == NULL && !row->optional ? "required"
                                                      : "",
                 has_default);
        CLEANUP(strbuf_fini) struct strbuf meaning;
        strbuf_init(&meaning, 4096);
        strbuf_append_str(&meaning, row->help == NULL ? "" : row->help);
        strbuf_append_str(&meaning, put_bounds(row, " (", &meaning) ? ")" : "");
        put_cell(out, meaning.ptr, false);
        strbuf_append_char(out, '\n');
    }
}

static NORETURN void print_and_exit(const struct strbuf *text, FILE *to, int status)
{
    fwrite(text->ptr, 1, text->len, to);
    fflush(to);
    exit(status);
}

int options_main(const struct option_table *table, const char *version, int argc, char *const *argv,
                 void *dest)
{
    struct options_result result;
    CLEANUP(strbuf_fini) struct strbuf text;
    strbuf_init(&text, 256 * 1024);
    if (argc == 2 && strcmp(argv[1], "--options-markdown") == 0) {
        options_markdown(table, &text);
        print_and_exit(&text, stdout, 0);
    }
    int rc = options_parse(table, argc, argv, NULL, dest, &result, &text);
    if (rc < 0) {
        fprintf(stderr, "%s: cannot start:\n", table->program);
        print_and_exit(&text, stderr, 2);
    }
    if (result.help) {
        options_help(table, &text);
        print_and_exit(&text, stdout, 0);
    }
    if (result.version) {
        strbuf_appendf(&text, "%s %s\n", table->program, version);
        print_and_exit(&text, stdout, 0);
    }
    return result.argi;
}
