// SPDX-License-Identifier: Apache-2.0
//
// The HTTP binding as a table: what is sent, and the events that come of it (their packed form, and
// their data behind "~"), or the error.
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "events/carried.h"
#include "events/event_http.h"
#include "test.h"

#define HEADERS_ROOM 40

/* "name: value" lines as headers. */
static size_t split(const char *text, struct event_header *out)
{
    size_t n = 0;
    struct slice line;
    struct slice rest = slice_str(text);
    while (rest.len > 0 && slice_split(&rest, '\n', &line)) {
        ptrdiff_t colon = slice_find(line, ':');
        if (colon < 0) {
            continue;
        }
        assert_true(n < HEADERS_ROOM);
        out[n].name = slice_sub(line, 0, (size_t)colon);
        out[n++].value = slice_trim(slice_sub(line, (size_t)colon + 1, line.len));
    }
    return n;
}

static void describe(const struct event *ev, struct strbuf *out)
{
    struct event plain = *ev;
    plain.n_wires = 0; /* test_headers_pass has them */
    event_pack(&plain, out);
    if (ev->data.ptr != NULL) {
        strbuf_append_char(out, '~');
        strbuf_append_slice(out, ev->data);
        strbuf_append_char(out, '\n');
    }
}

struct row {
    const char *name;
    const char *headers;
    const char *body;
    const char *want; /* events; or a part of the sentence */
    int code;         /* of the error; 0: none */
};

#define CE    "ce-specversion: 1.0\nce-id: 1\nce-source: /s\nce-type: t\n"
#define EV    "specversion=1.0\nid=1\nsource=/s\ntype=t\n"
#define ONE   "\"specversion\":\"1.0\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""
#define JSON  "Content-Type: application/cloudevents+json\n"
#define BATCH "Content-Type: application/cloudevents-batch+json; charset=UTF-8\n"
#define ZERO3 "\"specversion\":\"0.3\",\"id\":\"1\",\"source\":\"/s\",\"type\":\"t\""
#define EV03  "specversion=0.3\nid=1\nsource=/s\ntype=t\n"

static const struct row BINARY_ROWS[] = {
    {"the least", CE, "", EV, 0},
    {"names in any case",
     "CE-SPECVERSION: 1.0\nCe-Id: 1\ncE-source: /s\nce-Type: t\nCe-MyExt2: v\n", "",
     EV "myext2=v\n", 0},
    {"data and its type", CE "Content-Type: application/json; charset=utf-8\n", "{\"a\": 1.0}",
     EV "datacontenttype=application/json; charset=utf-8\n~{\"a\": 1.0}\n", 0},
    {"data of no type", CE, "x", EV "~x\n", 0},
    {"data need not be what its type says", CE "content-type: application/json\n", "{",
     EV "datacontenttype=application/json\n~{\n", 0},
    {"all attributes",
     CE "ce-subject: a\nce-time: 2020-01-02T03:04:05Z\nce-dataschema: "
        "http://example.com/s\nce-ext: 5\n",
     "", EV "subject=a\ntime=2020-01-02T03:04:05Z\ndataschema=http://example.com/s\next=5\n", 0},
    {"other headers do not matter", CE "x-ce-a: b\nce: d\nhost: h\naccept: */*\n", "", EV, 0},
    {"version 0.3", "ce-specversion: 0.3\nce-id: 1\nce-source: /s\nce-type: t\nce-schemaurl: /x\n",
     "", EV03 "schemaurl=/x\n", 0},

    {"version 0.3 with base64",
     "ce-specversion: 0.3\nce-id: 1\nce-source: /s\nce-type: t\nce-datacontentencoding: base64\n",
     "YWJj", EV03 "~abc\n", 0},
    {"version 0.3 with base64 that is none",
     "ce-specversion: 0.3\nce-id: 1\nce-source: /s\nce-type: t\nce-datacontentencoding: base64\n",
     "YW", "body: no base64", ERR_INVALID},

    {"percent-encoding", CE "ce-subject: Euro%20%E2%82%AC%20%F0%9F%98%80\n", "",
     EV "subject=Euro \xe2\x82\xac \xf0\x9f\x98\x80\n", 0},
    {"percent-encoding in lower case, and where it need not be", CE "ce-subject: %e2%82%ac%41\n",
     "",
     EV "subject=\xe2\x82\xac"
        "A\n",
     0},
    {"only one round", CE "ce-subject: %2541\n", "", EV "subject=%41\n", 0},
    {"a percent sign by itself", CE "ce-subject: 100%\nce-a: %zz%4\n", "",
     EV "subject=100%\na=%zz%4\n", 0},
    {"overlong", CE "ce-subject: %C0%A0\n", "", "subject: byte 0 is not UTF-8", ERR_INVALID},
    {"broken off", CE "ce-subject: a%E2%82\n", "", "subject: byte 1 is not UTF-8", ERR_INVALID},
    {"a surrogate", CE "ce-subject: %ED%A0%80\n", "", "not UTF-8", ERR_INVALID},
    {"an encoded line end", CE "ce-subject: a%0D%0Ace-id: 2\n", "",
     "subject: has a control character", ERR_INVALID},
    {"an encoded NUL", CE "ce-a: %00\n", "", "a: has a control character", ERR_INVALID},
    {"raw UTF-8", CE "ce-subject: \xe2\x82\xac\n", "", EV "subject=\xe2\x82\xac\n", 0},
    {"raw Latin-1", CE "ce-subject: caf\xe9\n", "", "subject: byte 3 is not UTF-8", ERR_INVALID},

    {"quotes", CE "ce-subject: \"a \\\"b\\\" c\\\\\"\n", "", EV "subject=a \"b\" c\\\n", 0},
    {"quotes and percent", CE "ce-subject: \"%20x\"\n", "", EV "subject= x\n", 0},
    {"quotes within", CE "ce-subject: a\"b\"\n", "", EV "subject=a\"b\"\n", 0},
    {"quotes that do not end", CE "ce-subject: \"abc\n", "", "a quoted value that does not end",
     ERR_INVALID},
    {"quotes that end early", CE "ce-subject: \"abc\" d\n", "", "a quoted value that does not end",
     ERR_INVALID},

    {"no id", "ce-specversion: 1.0\nce-source: /s\nce-type: t\n", "", "id: missing", ERR_INVALID},
    {"no source", "ce-specversion: 1.0\nce-id: 1\nce-type: t\n", "", "source: missing",
     ERR_INVALID},
    {"no type", "ce-specversion: 1.0\nce-id: 1\nce-source: /s\n", "", "type: missing", ERR_INVALID},
    {"no specversion", "ce-id: 1\nce-source: /s\nce-type: t\n", "", "not a CloudEvent",
     ERR_INVALID},
    {"nothing at all", "", "", "not a CloudEvent", ERR_INVALID},
    {"an empty id", "ce-specversion: 1.0\nce-id:\nce-source: /s\nce-type: t\n", "",
     "id: must not be empty", ERR_INVALID},
    {"another version", "ce-specversion: 2.0\nce-id: 1\nce-source: /s\nce-type: t\n", "",
     "specversion: must be 1.0 or 0.3, is \"2.0\"", ERR_INVALID},
    {"an empty subject", CE "ce-subject:\n", "", "subject: must not be empty", ERR_INVALID},
    {"a wrong time", CE "ce-time: now\n", "", "time: must be a time", ERR_INVALID},
    {"the same twice", CE "ce-id: 1\n", "", "header ce-id: stands twice", ERR_INVALID},
    {"the same twice in another case", CE "ce-x: 1\nCE-X: 2\n", "", "header ce-x: stands twice",
     ERR_INVALID},
    {"two types of data", CE "content-type: text/plain\nContent-Type: text/html\n", "",
     "content-type: stands twice", ERR_INVALID},
    {"ce-datacontenttype", CE "ce-datacontenttype: text/plain\n", "", "content-type says it",
     ERR_INVALID},
    {"ce-data", CE "ce-data: x\n", "", "data is not an attribute", ERR_INVALID},
    {"a dash in a name", CE "ce-my-ext: x\n", "", "lower-case letters and digits only",
     ERR_INVALID},
    {"an underscore in a name", CE "ce-my_ext: x\n", "", "header ce-my_ext: my_ext", ERR_INVALID},
    {"a long name", CE "ce-aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggggg: x\n",
     "", "at most 64 bytes", ERR_INVALID},
    {"a type that is none", CE "content-type: json\n", "{}",
     "datacontenttype: must be a media type", ERR_INVALID},
    {"another content type that begins the same", CE "content-type: application/cloudeventsx\n",
     "x", EV "datacontenttype=application/cloudeventsx\n~x\n", 0},
};

static const struct row STRUCTURED_ROWS[] = {
    {"the least", JSON, "{" ONE "}", EV, 0},
    {"space around", JSON, " \r\n\t{ " ONE " } \n", EV, 0},
    {"parameters", "content-type: Application/CloudEvents+JSON ; charset=\"UTF-8\"; x=y\n",
     "{" ONE "}", EV, 0},
    {"headers too: the body counts", JSON "ce-id: other\nce-bad-name: x\n", "{" ONE "}", EV, 0},
    {"kinds of extensions", JSON,
     "{" ONE ",\"n\":-5,\"on\":true,\"off\":false,\"s\":\"\",\"none\":null}",
     EV "n#-5\non?true\noff?false\ns=\n", 0},
    {"escapes", JSON, "{" ONE ",\"subject\":\"\\u20ac \\ud83d\\ude00 \\\"\\/\\\\\"}",
     EV "subject=\xe2\x82\xac \xf0\x9f\x98\x80 \"/\\\n", 0},
    {"a name with escapes", JSON, "{" ONE ",\"\\u0061\":\"b\"}", EV "a=b\n", 0},

    {"data that is JSON stays as it is", JSON,
     "{" ONE ",\"datacontenttype\":\"application/json\",\"data\": {\"a\": 1.0, "
     "\"b\":[12345678901234567890]} }",
     EV "datacontenttype=application/json\n~{\"a\": 1.0, \"b\":[12345678901234567890]}\n", 0},
    {"data before its type", JSON,
     "{\"data\":\"<x/>\",\"datacontenttype\":\"application/xml\"," ONE "}",
     EV "datacontenttype=application/xml\n~<x/>\n", 0},
    {"data without a type is JSON", JSON, "{" ONE ",\"data\":\"a\"}",
     EV "datacontenttype=application/json\n~\"a\"\n", 0},
    {"a null is data", JSON, "{" ONE ",\"data\":null}",
     EV "datacontenttype=application/json\n~null\n", 0},
    {"a null is no text", JSON, "{" ONE ",\"datacontenttype\":\"text/plain\",\"data\":null}",
     EV "datacontenttype=text/plain\n", 0},
    {"a text", JSON, "{" ONE ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\nb\"}",
     EV "datacontenttype=text/plain\n~a\nb\n", 0},
    {"a JSON text is a string", JSON, "{" ONE ",\"datacontenttype\":\"text/json\",\"data\":\"{}\"}",
     EV "datacontenttype=text/json\n~\"{}\"\n", 0},
    {"an object of another type", JSON,
     "{" ONE ",\"datacontenttype\":\"text/plain\",\"data\":{\"a\":1}}",
     EV "datacontenttype=text/plain\n~{\"a\":1}\n", 0},
    {"base64", JSON, "{" ONE ",\"data_base64\":\"eyAieHl6IjogMTIzIH0=\"}", EV "~{ \"xyz\": 123 }\n",
     0},
    {"base64 of nothing", JSON, "{" ONE ",\"data_base64\":\"\"}", EV "~\n", 0},
    {"no base64", JSON, "{" ONE ",\"data_base64\":\"a$b=\"}", "data_base64: no base64",
     ERR_INVALID},
    {"base64 broken off", JSON, "{" ONE ",\"data_base64\":\"eyA\"}", "data_base64: no base64",
     ERR_INVALID},
    {"base64 that is a number", JSON, "{" ONE ",\"data_base64\":5}",
     "data_base64: must be a string", ERR_INVALID},
    {"data and base64", JSON, "{" ONE ",\"data\":1,\"data_base64\":\"eyA=\"}", "only one of them",
     ERR_INVALID},
    {"data twice", JSON, "{" ONE ",\"data\":1,\"data\":2}", "data: stands twice", ERR_INVALID},

    {"0.3", JSON, "{" ZERO3 ",\"schemaurl\":\"/x\",\"data\":{}}",
     EV03 "datacontenttype=application/json\nschemaurl=/x\n~{}\n", 0},
    {"0.3 with base64", JSON,
     "{" ZERO3 ",\"datacontentencoding\":\"Base64\",\"datacontenttype\":\"a/b\",\"data\":\"eyA=\"}",
     EV03 "datacontenttype=a/b\n~{ \n", 0},
    {"0.3 with base64 that is none", JSON,
     "{" ZERO3 ",\"datacontentencoding\":\"base64\",\"data\":{}}", "must be a string of base64",
     ERR_INVALID},
    {"0.3 with data_base64", JSON, "{" ZERO3 ",\"data_base64\":\"eyA=\"}", EV03 "~{ \n", 0},

    {"0.3 with another encoding", JSON,
     "{" ZERO3 ",\"datacontentencoding\":\"base63\",\"data\":\"\"}",
     "datacontentencoding: must be base64", ERR_INVALID},
    {"an encoding in 1.0 is an extension", JSON, "{" ONE ",\"datacontentencoding\":\"x\"}",
     EV "datacontentencoding=x\n", 0},
    {"0.3 with base64 of nothing", JSON, "{" ZERO3 ",\"datacontentencoding\":\"base64\"}", EV03, 0},

    {"no source", JSON, "{\"specversion\":\"1.0\",\"id\":\"1\",\"type\":\"t\"}", "source: missing",
     ERR_INVALID},
    {"no version", JSON, "{\"id\":\"1\",\"type\":\"t\",\"source\":\"/s\"}", "specversion: missing",
     ERR_INVALID},
    {"a null id", JSON, "{\"specversion\":\"1.0\",\"id\":null,\"type\":\"t\",\"source\":\"/s\"}",
     "id: missing", ERR_INVALID},
    {"a number as id", JSON, "{\"specversion\":\"1.0\",\"id\":1,\"type\":\"t\",\"source\":\"/s\"}",
     "id: must be a string", ERR_INVALID},
    {"an object as extension", JSON, "{" ONE ",\"ext\":{}}",
     "ext: must be a string, an integer or a boolean", ERR_INVALID},
    {"a real number", JSON, "{" ONE ",\"ext\":1.5}", "ext: a number must be an integer",
     ERR_INVALID},
    {"a large number", JSON, "{" ONE ",\"ext\":2147483648}", "32 bits", ERR_INVALID},
    {"the largest numbers", JSON, "{" ONE ",\"a\":2147483647,\"b\":-2147483648}",
     EV "a#2147483647\nb#-2147483648\n", 0},
    {"twice", JSON, "{" ONE ",\"id\":\"2\"}", "id: stands twice", ERR_INVALID},
    {"an extension twice", JSON, "{" ONE ",\"e\":\"2\",\"\\u0065\":\"2\"}", "e: stands twice",
     ERR_INVALID},
    {"a name in upper case", JSON, "{" ONE ",\"Ext\":\"2\"}", "Ext: an attribute's name",
     ERR_INVALID},
    {"a name with a dash", JSON, "{" ONE ",\"my-ext\":\"2\"}", "lower-case", ERR_INVALID},
    {"no name", JSON, "{" ONE ",\"\":\"2\"}", "without a name", ERR_INVALID},
    {"a control character", JSON, "{" ONE ",\"ext\":\"\\u0000\"}", "ext: has a control character",
     ERR_INVALID},
    {"a lone surrogate", JSON, "{" ONE ",\"ext\":\"\\ud800\"}", "line 1", ERR_INVALID},
    {"not UTF-8", JSON, "{" ONE ",\"ext\":\"\xe9\"}", "not UTF-8", ERR_INVALID},
    {"UTF-16", JSON, "\xff\xfe{", "an object is expected", ERR_INVALID},
    {"a byte order mark", JSON, "\xef\xbb\xbf{" ONE "}", "an object is expected", ERR_INVALID},
    {"broken off", JSON, "{" ONE, "ends too early", ERR_INVALID},
    {"more behind it", JSON, "{" ONE "} {}", "something stands behind", ERR_INVALID},
    {"nothing", JSON, "", "ends too early", ERR_INVALID},
    {"a list", JSON, "[]", "an object is expected", ERR_INVALID},
    {"charset", "content-type: application/cloudevents+json; charset=utf-16\n", "{" ONE "}",
     "charset must be utf-8, is utf-16", ERR_INVALID},
    {"charset Latin-1", "content-type: application/cloudevents+json;charset=iso-8859-1\n",
     "{" ONE "}", "charset must be utf-8", ERR_INVALID},
    {"another format", "content-type: application/cloudevents+avro\n", "{" ONE "}",
     "only event format here is JSON", ERR_UNSUPPORTED},
    {"no format", "content-type: application/cloudevents\n", "{" ONE "}", "only event format",
     ERR_UNSUPPORTED},
    {"two content types", JSON JSON, "{" ONE "}", "stands twice", ERR_INVALID},
};

static const struct row BATCH_ROWS[] = {
    {"none", BATCH, " [ ] ", "", 0},
    {"one", BATCH, "[{" ONE "}]", EV, 0},
    {"two", BATCH, "[{" ONE ",\"data\":1} , {" ONE ",\"n\":2}]",
     EV "datacontenttype=application/json\n~1\n" EV "n#2\n", 0},
    {"one bad", BATCH, "[{" ONE "},{\"specversion\":\"1.0\"},{" ONE "}]",
     "event 1 of the batch: id: missing", ERR_INVALID},
    {"two versions", BATCH, "[{" ONE "},{" ZERO3 "}]", "event 1 of the batch: its specversion",
     ERR_INVALID},
    {"a number", BATCH, "[1]", "event 0 of the batch: line 1, column 2: an object is expected",
     ERR_INVALID},
    {"a comma too much", BATCH, "[{" ONE "},]", "event 1 of the batch", ERR_INVALID},
    {"no comma", BATCH, "[{" ONE "}{" ONE "}]", "',' or ']' is expected", ERR_INVALID},
    {"not closed", BATCH, "[{" ONE "}", "ends too early", ERR_INVALID},
    {"one event", BATCH, "{" ONE "}", "an array is expected", ERR_INVALID},
    {"another format", "content-type: application/cloudevents-batch+xml\n", "[]",
     "only event format", ERR_UNSUPPORTED},
    {"charset", "content-type: application/cloudevents-batch+json;charset=x\n", "[]",
     "charset must be", ERR_INVALID},
};

static void check_rows(const struct row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct error err = {.code = 0};
        struct event_header headers[HEADERS_ROOM];
        struct event_batch batch;
        CLEANUP(strbuf_fini) struct strbuf got;
        strbuf_init(&got, 65536);
        size_t count = split(rows[i].headers, headers);
        int rc = event_http_read(headers, count, slice_str(rows[i].body), &batch, &err);
        if (rc != rows[i].code) {
            fail_msg("%s: %s (%s), want %s", rows[i].name, error_name(rc), err.msg,
                     error_name(rows[i].code));
        }
        if (rc < 0) {
            if (strstr(err.msg, rows[i].want) == NULL) {
                fail_msg("%s: \"%s\" does not contain \"%s\"", rows[i].name, err.msg, rows[i].want);
            }
            continue;
        }
        for (size_t k = 0; k < batch.len; k++) {
            describe(&batch.items[k], &got);
        }
        if (strcmp(got.ptr, rows[i].want) != 0) {
            fail_msg("%s: got\n%s\nwant\n%s", rows[i].name, got.ptr, rows[i].want);
        }
        event_batch_fini(&batch);
    }
}

static void test_binary(void **state)
{
    check_rows(BINARY_ROWS, ARRAY_LEN(BINARY_ROWS));
}

static void test_structured(void **state)
{
    check_rows(STRUCTURED_ROWS, ARRAY_LEN(STRUCTURED_ROWS));
}

static void test_batch(void **state)
{
    check_rows(BATCH_ROWS, ARRAY_LEN(BATCH_ROWS));
}

static void test_large(void **state)
{
    struct error err;
    struct event_batch batch;
    struct event_header headers[2] = {{SLICE_LIT("content-type"), SLICE_LIT(EVENT_TYPE_BATCH)}};
    CLEANUP(strbuf_fini) struct strbuf body;
    strbuf_init(&body, 8 << 20);
    strbuf_append_char(&body, '[');
    for (int i = 0; i < EVENT_BATCH_MAX; i++) {
        strbuf_append_str(&body, i == 0 ? "{" ONE "}" : ",{" ONE "}");
    }
    strbuf_append_char(&body, ']');
    ASSERT_OK(event_http_read(headers, 1, strbuf_slice(&body), &batch, &err));
    assert_int_equal(batch.len, EVENT_BATCH_MAX);
    event_batch_fini(&batch);
    strbuf_truncate(&body, body.len - 1);
    strbuf_append_str(&body, ",{" ONE "}]");
    ASSERT_ERR(ERR_TOO_BIG, event_http_read(headers, 1, strbuf_slice(&body), &batch, &err));

    headers[0].value = SLICE_LIT(EVENT_TYPE_STRUCTURED);
    strbuf_clear(&body);
    strbuf_append_str(&body, "{" ONE ",\"ext\":\"");
    for (int i = 0; i < 1 << 20; i++) {
        strbuf_append_char(&body, 'x');
    }
    strbuf_append_str(&body, "\"}");
    ASSERT_ERR(ERR_TOO_BIG, event_http_read(headers, 1, strbuf_slice(&body), &batch, &err));
    ASSERT_MSG("ext: 1048576 bytes");

    strbuf_clear(&body);
    strbuf_append_str(&body, "{" ONE ",\"data\":");
    for (int i = 0; i < 100000; i++) {
        strbuf_append_char(&body, '[');
    }
    ASSERT_ERR(ERR_INVALID, event_http_read(headers, 1, strbuf_slice(&body), &batch, &err));
    ASSERT_MSG("nested too deep");
}

/* A header in another form than ours goes out as it came, also after packing, until it is changed.
 */
static void check_passed(const char *came, const char *goes, bool wire)
{
    struct error err;
    struct event_header headers[HEADERS_ROOM];
    struct event_batch batch;
    struct event_headers out;
    struct event back, copy;
    char text[256];
    CLEANUP(strbuf_fini) struct strbuf packed;
    strbuf_init(&packed, 4096);
    (void)snprintf(text, sizeof(text), CE "ce-subject: %s\nce-EXT: %s\n", came, came);
    ASSERT_OK(event_http_read(headers, split(text, headers), SLICE_EMPTY, &batch, &err));
    assert_int_equal(batch.items[0].n_wires, wire ? 2 : 0);
    event_pack(&batch.items[0], &packed);
    ASSERT_OK(event_unpack(strbuf_slice(&packed), SLICE_EMPTY, &back, &err));
    event_borrow(&copy, &back);
    ASSERT_OK(event_http_binary(&copy, &out, &err));
    ASSERT_SLICE(out.items[4].name, "ce-subject");
    ASSERT_SLICE(out.items[4].value, goes);
    ASSERT_SLICE(out.items[5].name, "ce-ext");
    ASSERT_SLICE(out.items[5].value, goes);
    event_headers_fini(&out);
    ASSERT_OK(event_set(&copy, SLICE_LIT("ext"), SLICE_LIT("a b"), &err));
    event_remove(&copy, SLICE_LIT("subject"));
    ASSERT_OK(event_http_binary(&copy, &out, &err));
    ASSERT_SLICE(out.items[4].value, "a%20b");
    assert_int_equal(out.n, 5);
    event_headers_fini(&out);
    event_fini(&copy);
    event_fini(&back);
    event_batch_fini(&batch);
}

/* What goes with an event: through packing and copying, and in each event of a batch. */
static void check_carried(const char *came, const char *goes)
{
    struct error err;
    struct event_header headers[HEADERS_ROOM];
    struct event_batch batch;
    struct event back, copy;
    char text[8192];
    CLEANUP(strbuf_fini) struct strbuf packed, got;
    strbuf_init(&packed, 65536);
    strbuf_init(&got, 65536);
    (void)snprintf(text, sizeof(text), BATCH "%s", came);
    ASSERT_OK(event_http_read(headers, split(text, headers), SLICE_LIT("[{" ONE "},{" ONE "}]"),
                              &batch, &err));
    assert_int_equal(batch.items[0].n_carried, batch.items[1].n_carried);
    event_pack(&batch.items[1], &packed);
    ASSERT_OK(event_unpack(strbuf_slice(&packed), SLICE_EMPTY, &back, &err));
    event_borrow(&copy, &back);
    for (unsigned i = 0; i < copy.n_carried; i++) {
        strbuf_appendf(&got, "%.*s: %.*s\n", SLICE_FMT(copy.carried[i].name),
                       SLICE_FMT(copy.carried[i].value));
    }
    assert_string_equal(got.len == 0 ? "" : got.ptr, goes);
    event_fini(&copy);
    event_fini(&back);
    event_batch_fini(&batch);
}

static void test_headers_go_along(void **state)
{
    char text[4096];
    char long_value[1100];
    struct strbuf many;
    check_carried("", "");
    check_carried("X-Request-Id: r 1\nX-B3-TraceId: 80f1\nb3: 0\nKnative-Thing: a:b=c\n"
                  "traceparent: p\ntracestate: s=1\n",
                  "x-request-id: r 1\nx-b3-traceid: 80f1\nb3: 0\nknative-thing: a:b=c\n"
                  "traceparent: p\ntracestate: s=1\n");
    check_carried("authorization: secret\ncookie: c\nx-b3-: n\nknative: n\nx-request-ids: n\n"
                  "prefer: reply\nhost: h\nknative-\xc3\xa4: n\nb33: n\n",
                  "");
    check_carried("x-request-id: 1\nX-REQUEST-ID: 2\n", "x-request-id: 1\n");
    check_carried("traceparent: 1\ntraceparent: 1\ntracestate: s\n",
                  "traceparent: \ntracestate: s\n");
    check_carried("knative-a: a\tb\nknative-b: \xff\nknative-c: \xe2\x82\xac\n",
                  "knative-c: \xe2\x82\xac\n");
    memset(long_value, 'x', sizeof(long_value));
    (void)snprintf(text, sizeof(text), "knative-a: %.1025s\nknative-b: y\n", long_value);
    check_carried(text, "knative-b: y\n");
    strbuf_init(&many, 4096);
    for (int i = 0; i < 30; i++) {
        strbuf_appendf(&many, "knative-%02d: y\n", i);
    }
    (void)snprintf(text, sizeof(text), "%s", many.ptr);
    many.ptr[16 * strlen("knative-00: y\n")] = '\0';
    check_carried(text, many.ptr);
    strbuf_fini(&many);
}

static void test_headers_pass(void **state)
{
    check_passed("abc", "abc", false);
    check_passed("a%20b%E2%82%AC", "a%20b%E2%82%AC", false);
    check_passed("a b", "a b", true);
    check_passed("100%", "100%", true);
    check_passed("a%zz%20", "a%zz%20", true);
    check_passed("a%2", "a%2", true);
    check_passed("%e2%82%ac", "%e2%82%ac", true);
    check_passed("\xe2\x82\xac", "\xe2\x82\xac", true);
    check_passed("\"a \\\"b\\\"\"", "\"a \\\"b\\\"\"", true);
    check_passed("%41", "%41", true);
    check_passed("%E2\x82\xac", "%E2%82%AC", false);
}

/* Written in either mode and read again, an event is the same. */
static void round_trip(const struct event *ev, const char *want_json)
{
    struct error err;
    struct event_batch back;
    CLEANUP(strbuf_fini) struct strbuf want, got, json;
    strbuf_init(&want, 65536);
    strbuf_init(&got, 65536);
    strbuf_init(&json, 65536);
    describe(ev, &want);

    struct event_headers headers;
    ASSERT_OK(event_http_binary(ev, &headers, &err));
    struct slice body = ev->data.ptr == NULL ? SLICE_EMPTY : ev->data;
    for (size_t i = 0; i < headers.n; i++) {
        for (size_t k = 0; k < headers.items[i].value.len; k++) {
            char c = headers.items[i].value.ptr[k];
            assert_true(c >= 0x20 && c < 0x7f);
        }
    }
    ASSERT_OK(event_http_read(headers.items, headers.n, body, &back, &err));
    for (unsigned i = 0; i < ev->n_extensions; i++) { /* headers have no kinds */
        back.items[0].extensions[i].kind = ev->extensions[i].kind;
    }
    describe(&back.items[0], &got);
    assert_string_equal(got.ptr, want.ptr);
    event_batch_fini(&back);
    event_headers_fini(&headers);

    strbuf_clear(&got);
    ASSERT_OK(event_http_structured(ev, &json, &err));
    assert_string_equal(json.ptr, want_json);
    struct event_header type = {SLICE_LIT("content-type"), SLICE_LIT(EVENT_TYPE_STRUCTURED)};
    ASSERT_OK(event_http_read(&type, 1, strbuf_slice(&json), &back, &err));
    describe(&back.items[0], &got);
    assert_string_equal(got.ptr, want.ptr);
    event_batch_fini(&back);
}

static void set_all(struct event *ev, const char *packed, const char *data)
{
    struct error err;
    ASSERT_OK(
        event_unpack(slice_str(packed), slice_of(data, data == NULL ? 0 : strlen(data)), ev, &err));
}

static void test_write(void **state)
{
    static const struct {
        const char *packed, *data, *json;
    } rows[] = {
        {EV, NULL, "{" ONE "}"},
        {EV "subject=a \"b\" 100% \xe2\x82\xac\nn#5\non?true\n", NULL,
         "{" ONE ",\"subject\":\"a \\\"b\\\" 100% \xe2\x82\xac\",\"n\":5,\"on\":true}"},
        {EV "datacontenttype=application/json\n", "{\"a\": 1.0}",
         "{" ONE ",\"datacontenttype\":\"application/json\",\"data\":{\"a\": 1.0}}"},
        {EV "datacontenttype=application/json\n", "no json",
         "{" ONE ",\"datacontenttype\":\"application/json\",\"data_base64\":\"bm8ganNvbg==\"}"},
        {EV "datacontenttype=text/x+json\n", "o",
         "{" ONE ",\"datacontenttype\":\"text/x+json\",\"data_base64\":\"bw==\"}"},
        {EV "datacontenttype=text/plain\n", "a\n\"b\"",
         "{" ONE ",\"datacontenttype\":\"text/plain\",\"data\":\"a\\n\\\"b\\\"\"}"},
        {EV "datacontenttype=text/plain\n", "caf\xe9",
         "{" ONE ",\"datacontenttype\":\"text/plain\",\"data_base64\":\"Y2Fm6Q==\"}"},
        {EV "datacontenttype=image/svg+xml\n", "<x/>",
         "{" ONE ",\"datacontenttype\":\"image/svg+xml\",\"data\":\"<x/>\"}"},
        {EV "datacontenttype=image/png\n", "abc",
         "{" ONE ",\"datacontenttype\":\"image/png\",\"data_base64\":\"YWJj\"}"},
        {EV, "{}", "{" ONE ",\"data_base64\":\"e30=\"}"},
        {EV03 "datacontenttype=image/png\nschemaurl=/x\n", "abc",
         "{" ZERO3 ",\"datacontenttype\":\"image/png\",\"schemaurl\":\"/"
         "x\",\"datacontentencoding\":\"base64\","
         "\"data\":\"YWJj\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct event ev;
        set_all(&ev, rows[i].packed, rows[i].data);
        round_trip(&ev, rows[i].json);
        event_fini(&ev);
    }
}

static void test_write_bounds(void **state)
{
    struct error err;
    struct event ev;
    struct event_headers headers;
    char *large = xmalloc(EVENT_VALUE_MAX);
    set_all(&ev, EV, "0123456789");
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 40);
    strbuf_append_str(&out, "before");
    ASSERT_ERR(ERR_TOO_BIG, event_http_structured(&ev, &out, &err));
    assert_string_equal(out.ptr, "before");

    memset(large, ' ', EVENT_VALUE_MAX);
    for (int i = 0; i < 6; i++) {
        char name[] = {'x', (char)('a' + i)};
        ASSERT_OK(event_set(&ev, slice_of(name, 2), slice_of(large, EVENT_VALUE_MAX), &err));
    }
    ASSERT_ERR(ERR_TOO_BIG, event_http_binary(&ev, &headers, &err));
    free(large);
    event_fini(&ev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_binary),       cmocka_unit_test(test_structured),
        cmocka_unit_test(test_batch),        cmocka_unit_test(test_large),
        cmocka_unit_test(test_write),        cmocka_unit_test(test_write_bounds),
        cmocka_unit_test(test_headers_pass), cmocka_unit_test(test_headers_go_along),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
