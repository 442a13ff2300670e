// SPDX-License-Identifier: Apache-2.0
//
// `lull source binding`: whom a SinkBinding means, in the words of a command line. The API judges
// kinds and labels; only what cannot be read as either is refused here.
#include "base/mem.h"
#include "json/jget.h"
#include "cli/source_type.h"

static const struct option_row ROWS[] = {
    OPTION(struct source_options, subject, STRING, NULL, "subject", NULL, .optional = true,
           .help = "with create: who is told K_SINK: a function's NAME, KIND/NAME (deployment, "
                   "statefulset, daemonset, job, cronjob, service, configuration), "
                   "KIND:APIVERSION:NAME; with --selector: KIND"),
    OPTION(struct source_options, selector, STRING, NULL, "selector", NULL, .optional = true,
           .help = "with create: all that have these labels (a=b,c!=d,e in (x,y),f,!g), of the "
                   "kind that --subject names; absent: functions"),
    SOURCE_ROWS("where it is told to send events"),
};
static const struct option_table TABLE = {
    .program = "lull source binding",
    .summary = "tells functions and workloads where to send their events: the variable K_SINK "
               "(SinkBinding)",
    .arguments =
        "create NAME --subject FUNCTION|KIND/NAME --sink FUNCTION|URL | create NAME "
        "[--subject KIND] --selector LABELS --sink FUNCTION|URL | update NAME | list | describe "
        "NAME | delete NAME…",
    .rows = ROWS,
    .count = ARRAY_LEN(ROWS),
    .examples =
        "  lull source binding create shop-events --subject shop --sink broker:default\n"
        "  lull source binding create orders --subject deployment/orders --sink "
        "broker:default\n"
        "  lull source binding create nightly --subject cronjob --selector app=nightly --sink "
        "broker:default\n"};

static const struct {
    const char *word, *api_version, *kind;
} KINDS[] = {
    {"service", "serving.knative.dev/v1", "Service"},
    {"configuration", "serving.knative.dev/v1", "Configuration"},
    {"deployment", "apps/v1", "Deployment"},
    {"statefulset", "apps/v1", "StatefulSet"},
    {"daemonset", "apps/v1", "DaemonSet"},
    {"job", "batch/v1", "Job"},
    {"cronjob", "batch/v1", "CronJob"},
};

static struct slice rest_of(struct slice s, size_t from)
{
    return slice_sub(s, from, s.len);
}

static int set_kind(json_t *subject, struct slice word, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(KINDS); i++) {
        struct slice singular = slice_str(KINDS[i].word);
        bool plural = word.len == singular.len + 1 && word.ptr[word.len - 1] == 's';
        if (slice_eq_nocase(slice_of(word.ptr, word.len - plural), singular)) {
            source_set_text(subject, "apiVersion", KINDS[i].api_version);
            source_set_text(subject, "kind", KINDS[i].kind);
            return 0;
        }
    }
    return error_set(err, ERR_INVALID,
                     "--subject: %.*s is none of deployment, statefulset, daemonset, job, cronjob, "
                     "service, configuration; another kind is named KIND:APIVERSION:NAME",
                     SLICE_FMT(word));
}

// ---- labels

static void add_text(json_t *to, struct slice text)
{
    json_array_append_new(to, json_stringn(text.ptr, text.len));
}

static void add_expression(json_t *selector, struct slice key, const char *operator,
                           json_t * values)
{
    json_t *list = json_object_get(selector, "matchExpressions");

    if (!list) {
        list = json_array();
        json_object_set_new(selector, "matchExpressions", list);
    }
    json_array_append_new(list, json_pack("{s:s%, s:s, s:o*}", "key", key.ptr, key.len,
                                          "operator", operator, "values", values));
}

static bool is_key(struct slice key)
{
    return key.len > 0 && slice_find(key, ' ') < 0;
}

/* "x, y" */
static json_t *values_of(struct slice text)
{
    json_t *values = json_array();
    struct slice value;

    while (slice_split(&text, ',', &value)) {
        add_text(values, slice_trim(value));
    }
    return values;
}

/* "KEY in (x, y)": the part from "in" on. */
static bool add_set(json_t *selector, struct slice term)
{
    ptrdiff_t open = slice_find(term, '(');

    if (open < 0 || term.ptr[term.len - 1] != ')') {
        return false;
    }
    struct slice head = slice_trim(slice_of(term.ptr, (size_t)open));
    struct slice inner = slice_of(term.ptr + open + 1, term.len - (size_t)open - 2);
    ptrdiff_t space = slice_find(head, ' ');
    struct slice word = space < 0 ? SLICE_EMPTY : slice_trim(rest_of(head, (size_t)space));
    bool in = slice_eq_str(word, "in");

    if (!in && !slice_eq_str(word, "notin")) {
        return false;
    }
    add_expression(selector, slice_of(head.ptr, (size_t)space), in ? "In" : "NotIn",
                   values_of(inner));
    return true;
}

static bool add_term(json_t *selector, struct slice term)
{
    ptrdiff_t equals = slice_find(term, '=');

    if (term.len == 0) {
        return false;
    }
    if (slice_find(term, '(') >= 0) {
        return add_set(selector, term);
    }
    if (equals < 0) {
        bool not = term.ptr[0] == '!';
        struct slice key = slice_trim(rest_of(term, not ));
        add_expression(selector, key, not ? "DoesNotExist" : "Exists", NULL);
        return is_key(key);
    }
    bool differs = equals > 0 && term.ptr[equals - 1] == '!';
    struct slice key = slice_trim(slice_of(term.ptr, (size_t)equals - differs));
    struct slice value = rest_of(term, (size_t)equals + 1);
    value = slice_trim(slice_starts_with(value, SLICE_LIT("=")) ? rest_of(value, 1) : value);
    if (differs) {
        add_expression(selector, key, "NotIn", values_of(value));
        return is_key(key);
    }
    json_t *labels = json_object_get(selector, "matchLabels");
    if (!labels) {
        labels = json_object();
        json_object_set_new(selector, "matchLabels", labels);
    }
    json_object_setn_new(labels, key.ptr, key.len, json_stringn(value.ptr, value.len));
    return is_key(key);
}

/* The next term of a list, whose commas in brackets do not count. */
static struct slice next_term(struct slice *rest)
{
    size_t at = 0;

    for (int depth = 0; at < rest->len && (depth > 0 || rest->ptr[at] != ','); at++) {
        depth += (rest->ptr[at] == '(') - (rest->ptr[at] == ')');
    }
    struct slice term = slice_trim(slice_of(rest->ptr, at));
    *rest = rest_of(*rest, at < rest->len ? at + 1 : at);
    return term;
}

static int set_selector(json_t *subject, struct slice text, struct error *err)
{
    struct slice rest = text;
    json_t *selector = json_object();

    json_object_set_new(subject, "selector", selector);
    do {
        struct slice term = next_term(&rest);
        if (!add_term(selector, term)) {
            return error_set(err, ERR_INVALID,
                             "--selector: \"%.*s\" is no condition on a label: a=b, a!=b, a, !a, "
                             "a in (x,y), a notin (x,y)",
                             SLICE_FMT(term));
        }
    } while (rest.len > 0);
    return 0;
}

// ----

/* KIND:APIVERSION:NAME, or labels in the place of the name. */
static int set_full(json_t *subject, struct slice words, struct error *err)
{
    struct slice kind, version;

    if (!slice_split(&words, ':', &kind) || !slice_split(&words, ':', &version) || words.len == 0) {
        return error_set(err, ERR_INVALID,
                         "--subject: must be the NAME of a function, KIND/NAME or "
                         "KIND:APIVERSION:NAME");
    }
    json_object_set_new(subject, "apiVersion", json_stringn(version.ptr, version.len));
    json_object_set_new(subject, "kind", json_stringn(kind.ptr, kind.len));
    if (slice_find(words, '=') >= 0) {
        return set_selector(subject, words, err);
    }
    json_object_set_new(subject, "name", json_stringn(words.ptr, words.len));
    return 0;
}

static int set_subject(json_t *subject, const struct source_options *o, struct error *err)
{
    struct slice words = slice_str(o->subject ? o->subject : "service");
    ptrdiff_t slash = slice_find(words, '/');

    if (o->selector) {
        int rc = set_kind(subject, words, err);
        return rc < 0 ? rc : set_selector(subject, slice_str(o->selector), err);
    }
    if (slice_find(words, ':') >= 0) {
        return set_full(subject, words, err);
    }
    struct slice name = slash < 0 ? words : rest_of(words, (size_t)slash + 1);
    json_object_set_new(subject, "name", json_stringn(name.ptr, name.len));
    return set_kind(subject, slash < 0 ? SLICE_LIT("service") : slice_of(words.ptr, (size_t)slash),
                    err);
}

static int fill(const struct source_options *o, json_t *spec, struct error *err)
{
    json_t *subject = json_object();

    json_object_set_new(spec, "subject", subject);
    return set_subject(subject, o, err);
}

// ---- showing

static void add_list(struct strbuf *out, const json_t *expression)
{
    const char *operator= jpeek_cstr(expression, "operator");
    const char *key = jpeek_cstr(expression, "key");
    const json_t *values = jpeek_arr(expression, "values");
    size_t i;
    const json_t *value;

    if (strcmp(operator, "Exists") == 0 || strcmp(operator, "DoesNotExist") == 0) {
        (void)strbuf_appendf(out, "%s%s", operator[0] == 'E' ? "" : "!", key);
        return;
    }
    (void)strbuf_appendf(out, "%s %s (", key, strcmp(operator, "In") == 0 ? "in" : "notin");
    json_array_foreach(values, i, value)
    {
        (void)strbuf_appendf(out, "%s%s", i > 0 ? "," : "", json_string_value(value));
    }
    (void)strbuf_append_str(out, ")");
}

static void about(const json_t *object, struct strbuf *out)
{
    const json_t *subject = jpeek_obj(object, "spec.subject");
    const json_t *selector = jpeek_obj(subject, "selector");
    const char *key, *separator = "";
    json_t *value;
    size_t i;

    (void)strbuf_appendf(out, "%s %s", jpeek_cstr(subject, "kind"), jpeek_cstr(subject, "name"));
    json_object_foreach(jpeek_obj(selector, "matchLabels"), key, value)
    {
        (void)strbuf_appendf(out, "%s%s=%s", separator, key, json_string_value(value));
        separator = ",";
    }
    json_array_foreach(jpeek_arr(selector, "matchExpressions"), i, value)
    {
        (void)strbuf_append_str(out, separator);
        add_list(out, value);
        separator = ",";
    }
}

static void show(const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf text;

    strbuf_init(&text, 65536);
    about(object, &text);
    printf("  Subject      %s %s\n", jpeek_cstr(object, "spec.subject.apiVersion"), text.ptr);
}

const struct source_type SOURCE_TYPE_BINDING = {
    "binding", KIND_SINKBINDING, &TABLE, fill, about, show,
};
