// SPDX-License-Identifier: Apache-2.0
#include "http/log_template.h"
#include "test.h"

static const char *line(const char *template, const struct http_head *head, struct strbuf *out)
{
    struct log_template *t;
    struct error err;
    struct log_entry entry = {
        .request = head,
        .peer = SLICE_LIT("10.0.0.1"),
        .status = 404,
        .bytes_out = 17,
        .latency_ns = 1500000,
        .revision = SLICE_LIT("hello-00001"),
        .namespace_name = SLICE_LIT("default"),
        .pod_ip = SLICE_LIT("10.0.0.9"),
    };
    strbuf_clear(out);
    ASSERT_OK(log_template_new(slice_str(template), &t, &err));
    log_template_write(t, &entry, out);
    log_template_free(t);
    assert_true(strbuf_ok(out));
    return out->ptr;
}

static void fields_and_escapes(void **state)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    strbuf_init(&out, 65536);
    struct http_header room[8];
    struct http_head head;
    http_head_init(&head, room, ARRAY_LEN(room));
    assert_int_equal(
        http_head_add(&head, SLICE_LIT("User-Agent"), SLICE_LIT("curl/8 \"<x>\" \\ \n\xff")), 0);
    assert_int_equal(http_head_add(&head, SLICE_LIT("X-Id"), SLICE_LIT("one")), 0);
    assert_int_equal(http_head_add(&head, SLICE_LIT("x-id"), SLICE_LIT("two")), 0);
    assert_int_equal(http_head_add(&head, SLICE_LIT("traceparent"),
                                   SLICE_LIT("00-4bf92f3577b34da6a3ce929d0e0e4736-"
                                             "00f067aa0ba902b7-01")),
                     0);
    head.method = SLICE_LIT("GET");
    head.target = SLICE_LIT("/a?b='c'&d");
    head.authority = SLICE_LIT("hello.example");
    head.version = 11;
    assert_string_equal(line("", &head, &out), "\n");
    assert_string_equal(line("plain }} {x}", &head, &out), "plain }} {x}\n");
    assert_string_equal(
        line("{{.Request.Method}} {{ .Response.Code }}{{.Response.Size}}", &head, &out),
        "GET 40417\n");
    assert_string_equal(
        line("{{js .Request.RequestURI}}|{{.Request.RequestURI | js}}", &head, &out),
        "/a?b\\u003D\\u0027c\\u0027\\u0026d|/a?b\\u003D\\u0027c\\u0027\\u0026d\n");
    assert_string_equal(line("{{.Request.URL}}", &head, &out), "/a?b='c'&d\n");
    assert_string_equal(line("{{.Request.UserAgent}}", &head, &out),
                        "curl/8 \\\"<x>\\\" \\\\ \\n\\ufffd\n");
    assert_string_equal(
        line("{{.Response.Latency}}s {{.Request.Proto}} {{.Request.RemoteAddr}}", &head, &out),
        "0.0015s HTTP/1.1 10.0.0.1\n");
    assert_string_equal(line("{{index .Request.Header \"X-ID\"}}{{index .Request.Header \"no\"}}"
                             "{{.Request.Header.Get \"X-Id\"}}",
                             &head, &out),
                        "[one two][]one\n");
    assert_string_equal(line("{{.TraceID}}", &head, &out), "4bf92f3577b34da6a3ce929d0e0e4736\n");
    assert_string_equal(line("{{.Revision.Name}} {{.Revision.Namespace}} {{.Revision.Service}}"
                             "{{.Revision.PodIP}}",
                             &head, &out),
                        "hello-00001 default 10.0.0.9\n");
    assert_string_equal(line("a  {{- .Response.Code -}}  b {{/* no {word */}}c", &head, &out),
                        "a404b c\n");
    head.body = HTTP_BODY_STREAM;
    assert_string_equal(line("{{.Request.ContentLength}}", &head, &out), "-1\n");
    assert_non_null(strstr(line(log_template_default, &head, &out), "\"status\": 404, "));
}

static void what_is_not_known_is_refused(void **state)
{
    static const struct {
        const char *text;
        const char *said;
    } bad[] = {
        {"a {{.Request.Method", "byte 2 is not closed"},
        {"{{.Request.Nonsense}}", "\"{{.Request.Nonsense}}\" at byte 0"},
        {"{{.Response.Code}}{{}}", "\"{{}}\" at byte 18"},
        {"{{js}}", "js"},
        {"{{js .Request.Method extra}}", "extra"},
        {"{{index .Request.Header}}", "index"},
        {"{{index .Request.Header \"\"}}", "index"},
        {"{{index .Request.Header \"a\\\"b\"}}", "index"},
        {"{{if .Request.Method}}x{{end}}", "{{if"},
        {"{{.Request.Method | printf \"%q\"}}", "printf"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct log_template *t = NULL;
        struct error err = {0};
        if (log_template_new(slice_str(bad[i].text), &t, &err) != ERR_INVALID ||
            strstr(err.msg, bad[i].said) == NULL) {
            fail_msg("%s: %s", bad[i].text, err.msg);
        }
    }
}

/* Every cut of a good template is either good or refused. */
static void any_cut(void **state)
{
    struct slice whole = slice_str(log_template_default);
    for (size_t n = 0; n <= whole.len; n++) {
        struct log_template *t = NULL;
        struct error err;
        if (log_template_new(slice_of(whole.ptr, n), &t, &err) == 0) {
            log_template_free(t);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fields_and_escapes),
        cmocka_unit_test(what_is_not_known_is_refused),
        cmocka_unit_test(any_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
