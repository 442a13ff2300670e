// SPDX-License-Identifier: Apache-2.0
//
// Happy path: the request is started, the loop runs until it is done. Failure modes: no address, no
// answer in time.
#include "cli/call.h"

#include "json/jget.h"
#include "fetch/fetch.h"

static void on_done(void *arg, const struct fetch_result *result, const struct error *err)
{
    struct call *c = arg;

    c->done = true;
    c->status = result->status;
    strbuf_append_slice(&c->body, result->body);
    (void)slice_copy(result->kept[0], c->async_state, sizeof c->async_state);
    if (err) {
        c->rc = error_copy(&c->err, err);
    }
}

void call_init(struct call *c)
{
    *c = (struct call){0};
    strbuf_init(&c->body, CALL_BODY_MAX);
}

void call_fini(struct call *c)
{
    strbuf_fini(&c->body);
}

int call_make(struct cli *cli, const struct call_request *request, struct call *c,
              struct error *err)
{
    struct fetch *f = NULL;
    uint64_t begun = loop_now_fresh_ns(&cli->loop);
    struct fetch_spec spec = {
        .method = request->method,
        .url = request->url,
        .headers = request->headers,
        .keep = {"Lull-Async-State"},
        .body = request->body,
        .timeout_ms = request->timeout_ms,
        .on_done = on_done,
        .arg = c,
    };
    int rc = fetch_new(&cli->loop, &(struct fetch_options){0}, &f, err);
    rc = rc ? rc : fetch_start(f, &spec, NULL, err);
    if (rc < 0) {
        return rc;
    }
    (void)cli_run_until(cli, &c->done, spec.timeout_ms + 1000);
    if (!c->done) {
        return error_set(err, ERR_TIMEOUT, "no answer in %llu s",
                         (unsigned long long)request->timeout_ms / 1000);
    }
    fetch_close(f, NULL, NULL);
    c->ms = (loop_now_fresh_ns(&cli->loop) - begun) / 1000000;
    return c->rc ? error_copy(err, &c->err) : 0;
}

int call_print(const struct call *c, bool json, bool quiet)
{
    if (json) {
        json_t *body = json_stringn(c->body.ptr, c->body.len);
        json_t *answer =
            json_pack("{s:i, s:I, s:o}", "status", c->status, "milliseconds", (json_int_t)c->ms,
                      "body", body ? body : json_string("(not text)"));
        cli_print_json(answer);
        json_decref(answer);
    } else {
        fwrite(c->body.ptr, 1, c->body.len, stdout);
        fflush(stdout);
        if (!quiet) {
            fprintf(stderr, "%sHTTP %d in %llu ms\n",
                    c->body.len > 0 && c->body.ptr[c->body.len - 1] != '\n' ? "\n" : "", c->status,
                    (unsigned long long)c->ms);
        }
    }
    return c->status >= 200 && c->status < 400 ? 0 : 1;
}
