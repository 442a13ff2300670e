// SPDX-License-Identifier: Apache-2.0
//
// lull source webhook, redis, file: what `create` of our own kinds has for options, and how they
// are shown. What the API checks is not checked here.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "json/jget.h"
#include "cli/sink.h"
#include "cli/source_type.h"

// The object under key when it has members.
static void set_object(json_t *to, const char *key, json_t *object)
{
    if (json_object_size(object) > 0) {
        json_object_set(to, key, object);
    }
    json_decref(object);
}

static int set_delivery(const struct source_options *o, json_t *spec, struct error *err)
{
    json_t *delivery = json_object();
    int rc = delivery_args_set(&o->delivery, delivery, err);

    set_object(spec, "delivery", delivery);
    return rc;
}

// "NAME:KEY"
static int secret_of(const char *flag, const char *text, json_t **out, struct error *err)
{
    const char *colon = strchr(text, ':');

    if (!colon || colon == text || colon[1] == '\0') {
        return error_set(err, ERR_INVALID, "--%s %s: must be SECRET:KEY", flag, text);
    }
    CLEANUP(cleanup_free) char *name = slice_dup(slice_of(text, (size_t)(colon - text)));
    *out = json_pack("{s:{s:s, s:s}}", "secretKeyRef", "name", name, "key", colon + 1);
    return *out ? 0 : error_set(err, ERR_INVALID, "--%s: is not UTF-8", flag);
}

#define EVENT_ROWS                                                                    \
    OPTION(struct source_options, type, STRING, NULL, "type", NULL, .optional = true, \
           .help = "with create: type of the events"),                                \
        DELIVERY_ROWS(struct source_options)

// ---- webhook

static const struct option_row WEBHOOK_ROWS[] = {
    OPTION(struct source_options, scheme, STRING, NULL, "scheme", "generic",
           .help = "with create: who signs: github, stripe, generic, or none: everybody may send"),
    OPTION(struct source_options, secret, STRING, NULL, "secret", NULL, .optional = true,
           .help =
               "with create: SECRET:KEY that signs; several while one is exchanged for another"),
    OPTION(struct source_options, header, STRING, NULL, "header", NULL, .optional = true,
           .help = "with create, generic: the header with the signature"),
    OPTION(struct source_options, prefix, STRING, NULL, "prefix", NULL, .optional = true,
           .help = "with create, generic: what stands before it, as sha256="),
    OPTION(struct source_options, encoding, STRING, NULL, "encoding", NULL, .optional = true,
           .help = "with create, generic: hex or base64"),
    OPTION(struct source_options, type_header, STRING, NULL, "type-header", NULL, .optional = true,
           .help = "with create: the header with the type, instead of --type"),
    OPTION(struct source_options, type_field, STRING, NULL, "type-field", NULL, .optional = true,
           .help = "with create: the member of the JSON body with the type, as a.b"),
    OPTION(struct source_options, id_header, STRING, NULL, "id-header", NULL, .optional = true,
           .help = "with create: the header with the id"),
    OPTION(struct source_options, id_field, STRING, NULL, "id-field", NULL, .optional = true,
           .help = "with create: the member with the id"),
    EVENT_ROWS,
    SOURCE_ROWS("who gets the events"),
};
static const struct option_table WEBHOOK = {
    .program = "lull source webhook",
    .summary = "makes an event of every signed HTTP request (WebhookSource)",
    .arguments = "create NAME --sink FUNCTION|URL --scheme github|stripe|generic|none [--secret "
                 "SECRET:KEY] | url NAME | list | describe NAME | delete NAME…",
    .rows = WEBHOOK_ROWS,
    .count = ARRAY_LEN(WEBHOOK_ROWS),
    .examples =
        "  printf %s \"$TOKEN\" | lull secret create github --from-file token=-\n"
        "  lull source webhook create pushes --scheme github --secret github:token --sink builds\n"
        "  lull source webhook create shop --header X-Signature --secret shop:key --type-field "
        "kind --sink orders\n"
        "  lull source webhook url pushes\n"};

static int webhook_fill(const struct source_options *o, json_t *spec, struct error *err)
{
    json_t *signature = json_object(), *event = json_object(), *secrets = json_array();
    int rc = 0;

    source_set_text(signature, "scheme", o->scheme);
    source_set_text(signature, "header", o->header);
    source_set_text(signature, "prefix", o->prefix);
    source_set_text(signature, "encoding", o->encoding);
    for (int i = 0; rc == 0 && i < o->secrets.count; i++) {
        json_t *one = NULL;
        rc = secret_of("secret", o->secrets.items[i], &one, err);
        if (one) {
            json_array_append_new(secrets, one);
        }
    }
    if (json_array_size(secrets) > 0) {
        json_object_set(signature, "secrets", secrets);
    }
    json_decref(secrets);
    set_object(spec, "signature", signature);
    source_set_text(event, "type", o->type);
    source_set_text(event, "typeHeader", o->type_header);
    source_set_text(event, "typeField", o->type_field);
    source_set_text(event, "idHeader", o->id_header);
    source_set_text(event, "idField", o->id_field);
    set_object(spec, "event", event);
    return rc ? rc : set_delivery(o, spec, err);
}

static void webhook_about(const json_t *object, struct strbuf *out)
{
    (void)strbuf_append_str(out, jpeek_cstr(object, "status.url"));
}

static void webhook_show(const json_t *object)
{
    size_t i;
    json_t *one;

    printf("  Called at    %s\n", jpeek_cstr(object, "status.url"));
    printf("  Signed       %s", jpeek_cstr(object, "spec.signature.scheme"));
    json_array_foreach(jpeek_arr(object, "spec.signature.secrets"), i, one)
    {
        printf("%s %s:%s", i == 0 ? ", with" : ",", jpeek_cstr(one, "secretKeyRef.name"),
               jpeek_cstr(one, "secretKeyRef.key"));
    }
    printf("\n");
}

// ---- redis

static const struct option_row REDIS_ROWS[] = {
    OPTION(struct source_options, url, STRING, NULL, "url", NULL, .optional = true,
           .help = "with create: where Redis is: redis://HOST:PORT/DB, rediss://…, unix:/path"),
    OPTION(struct source_options, url_secret, STRING, NULL, "url-secret", NULL, .optional = true,
           .help = "with create: the same in SECRET:KEY, where it has a password"),
    OPTION(struct source_options, stream, STRING, NULL, "stream", NULL, .optional = true,
           .help = "with create: the key of a stream"),
    OPTION(struct source_options, group, STRING, NULL, "group", NULL, .optional = true,
           .help = "with create, a stream: the group; absent: lull"),
    OPTION(struct source_options, from, STRING, NULL, "from", NULL, .optional = true,
           .help = "with create, a stream: where a new group begins: new or first"),
    OPTION(struct source_options, data_field, STRING, NULL, "data-field", NULL, .optional = true,
           .help = "with create, a stream: the field that is the data; absent: all, as JSON"),
    OPTION(struct source_options, list, STRING, NULL, "list", NULL, .optional = true,
           .help = "with create: the key of a list"),
    OPTION(struct source_options, end, STRING, NULL, "end", NULL, .optional = true,
           .help = "with create, a list: the end that is taken from: right or left"),
    EVENT_ROWS,
    SOURCE_ROWS("who gets the events"),
};
static const struct option_table REDIS = {
    .program = "lull source redis",
    .summary = "makes events of the entries of a stream or a list in Redis (RedisSource)",
    .arguments = "create NAME --sink FUNCTION|URL --url URL --stream KEY|--list KEY | list | "
                 "describe NAME | delete NAME…",
    .rows = REDIS_ROWS,
    .count = ARRAY_LEN(REDIS_ROWS),
    .examples = "  lull source redis create orders --url redis://127.0.0.1:6379 --stream orders "
                "--group shop --sink ship\n"
                "  lull source redis create jobs --url-secret redis:url --list jobs --sink "
                "worker\n"};

static int redis_fill(const struct source_options *o, json_t *spec, struct error *err)
{
    json_t *stream = json_object(), *list = json_object(), *from = NULL;
    int rc = o->url_secret ? secret_of("url-secret", o->url_secret, &from, err) : 0;

    source_set_text(spec, "url", o->url);
    if (from) {
        json_object_set_new(spec, "urlFrom", from);
    }
    source_set_text(stream, "key", o->stream);
    source_set_text(stream, "group", o->group);
    source_set_text(stream, "from", o->from);
    source_set_text(stream, "dataField", o->data_field);
    set_object(spec, "stream", stream);
    source_set_text(list, "key", o->list);
    source_set_text(list, "end", o->end);
    set_object(spec, "list", list);
    set_object(spec, "event", json_pack("{s:s*}", "type", o->type));
    return rc ? rc : set_delivery(o, spec, err);
}

static void redis_about(const json_t *object, struct strbuf *out)
{
    bool list = jget(object, "spec.list") != NULL;
    (void)strbuf_appendf(out, "%s %s", list ? "list" : "stream",
                         jpeek_cstr(object, list ? "spec.list.key" : "spec.stream.key"));
}

static void redis_show(const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf about;
    const char *url = jpeek_cstr(object, "spec.url");

    strbuf_init(&about, 65536);
    redis_about(object, &about);
    printf("  Redis        %s%s%s\n", url[0] ? url : "as in Secret ",
           url[0] ? "" : jpeek_cstr(object, "spec.urlFrom.secretKeyRef.name"), "");
    printf("  Reads        %s\n", about.ptr);
}

// ---- file

static const struct option_row FILE_ROWS[] = {
    OPTION(struct source_options, path, STRING, NULL, "path", NULL, .optional = true,
           .help = "with create: the folder"),
    OPTION(struct source_options, pattern, STRING, NULL, "pattern", NULL, .optional = true,
           .help = "with create: which names count, as *.csv"),
    OPTION(struct source_options, settle, STRING, NULL, "settle", NULL, .optional = true,
           .help =
               "with create: a file is complete when it did not change for so long, as 5s or PT5S"),
    OPTION(struct source_options, mode, STRING, NULL, "mode", NULL, .optional = true,
           .help = "with create: auto, data (the file is in the event) or reference (its place)"),
    OPTION(struct source_options, after, STRING, NULL, "after", NULL, .optional = true,
           .help = "with create: move the file (into done or failed) or keep it where it is"),
    EVENT_ROWS,
    SOURCE_ROWS("who gets the events"),
};
static const struct option_table FILES = {
    .program = "lull source file",
    .summary = "makes an event of every file that is dropped in a folder (FileSource)",
    .arguments = "create NAME --sink FUNCTION|URL --path FOLDER | list | describe NAME | delete "
                 "NAME…",
    .rows = FILE_ROWS,
    .count = ARRAY_LEN(FILE_ROWS),
    .examples =
        "  lull source file create inbox --path /srv/inbox --pattern '*.csv' --sink import\n"
        "  lull source file create scans --path /srv/scans --mode reference --sink ocr\n"};

static int file_fill(const struct source_options *o, json_t *spec, struct error *err)
{
    CLEANUP(cleanup_free) char *path = o->path ? realpath(o->path, NULL) : NULL;

    // As it is where it does not exist yet, or not for us.
    source_set_text(spec, "path", path ? path : o->path);
    source_set_text(spec, "pattern", o->pattern);
    source_set_text(spec, "mode", o->mode);
    source_set_text(spec, "after", o->after);
    set_object(spec, "event", json_pack("{s:s*}", "type", o->type));
    int rc = delivery_args_period(spec, "settle", "settle", o->settle, err);
    return rc ? rc : set_delivery(o, spec, err);
}

static void file_about(const json_t *object, struct strbuf *out)
{
    const char *pattern = jpeek_cstr(object, "spec.pattern");
    (void)strbuf_appendf(out, "%s%s%s", jpeek_cstr(object, "spec.path"), pattern[0] ? "/" : "",
                         pattern);
}

static void file_show(const json_t *object)
{
    CLEANUP(strbuf_fini) struct strbuf about;

    strbuf_init(&about, 65536);
    file_about(object, &about);
    printf("  Folder       %s\n", about.ptr);
}

// ----

const struct source_type SOURCE_TYPES_LULL[SOURCE_TYPES_LULL_COUNT] = {
    {"webhook", KIND_WEBHOOKSOURCE, &WEBHOOK, webhook_fill, webhook_about, webhook_show},
    {"redis", KIND_REDISSOURCE, &REDIS, redis_fill, redis_about, redis_show},
    {"file", KIND_FILESOURCE, &FILES, file_fill, file_about, file_show},
};
