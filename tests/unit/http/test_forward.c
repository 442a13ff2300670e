// SPDX-License-Identifier: Apache-2.0
/* What a forward gives back: taken back, failed, cancelled; and that its body can be sent again. */
#include "base/mem.h"
#include "base/strbuf.h"
#include "http/client.h"
#include "http/forward.h"
#include "test.h"
#include "test_loop.h"

struct fixture {
    struct loop *loop;
    struct http_server *front;
    struct http_server *back;
    struct http_pool *pool;
    struct http_pool *nowhere; /* nobody listens there */
    struct http_pool *first;   /* which one is tried first */
    struct http_forward forward;
    const struct http_forward_hooks *hooks;
    struct http_exchange *front_ex;
    struct http_exchange *back_ex; /* held by the back */
    struct http_forward_result result;
    char addr[ADDR_TEXT_MAX];
    unsigned refuse; /* so many requests are refused by the back */
    unsigned requests;
    unsigned dones;
    unsigned closes;
    size_t back_bytes;
    size_t back_wrong; /* bytes that are not what the client sent there */
    bool hold;         /* the back does not answer */
    bool half;         /* the back answers the start of an answer */
    int rc;
    int status;
    size_t got;
    char text[64];
    unsigned answers;
    unsigned open;
};

/* A body whose bytes differ from place to place. */
static char body_byte(size_t at)
{
    return (char)('a' + (at ^ at >> 9) % 23);
}

/* ---- back ---- */

static void back_body(struct http_exchange *ex, struct slice chunk, void *arg)
{
    struct fixture *f = arg;
    for (size_t i = 0; i < chunk.len; i++) {
        f->back_wrong += chunk.ptr[i] != body_byte(f->back_bytes++);
    }
}

static void back_end(struct http_exchange *ex, void *arg)
{
    char text[32];
    struct fixture *f = arg;
    snprintf(text, sizeof(text), "%zu", f->back_bytes);
    http_exchange_respond(ex, 200, NULL, slice_str(text));
}

static void back_close(struct http_exchange *ex, enum http_close how, void *arg)
{
    struct fixture *f = arg;
    f->back_ex = NULL;
    f->closes++;
}

static const struct http_exchange_events back_events = {.on_body = back_body, .on_end = back_end};
static const struct http_exchange_events hold_events = {.on_close = back_close};

static void back_request(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    struct http_header room[1];
    struct http_head head;
    f->requests++;
    http_head_init(&head, room, 1);
    if (f->refuse > 0) {
        f->refuse--;
        head.status = 503;
        assert_int_equal(http_head_add(&head, SLICE_LIT("K-Lull-Refused"), SLICE_LIT("full")), 0);
        http_exchange_respond_head(ex, &head, SLICE_LIT("full"));
        return;
    }
    if (f->hold || f->half) {
        f->back_ex = ex;
        http_exchange_listen(ex, &hold_events, f);
        if (f->half) {
            head.status = 200;
            head.body = HTTP_BODY_STREAM;
            http_exchange_start(ex, &head);
            http_exchange_write(ex, SLICE_LIT("half"));
        }
        return;
    }
    f->back_bytes = 0;
    http_exchange_listen(ex, &back_events, f);
    http_exchange_resume(ex);
}

/* ---- front ---- */

static const struct http_forward_hooks hooks;

static void forward(struct fixture *f, struct http_pool *pool)
{
    struct error err;
    ASSERT_OK(http_forward_start(&f->forward, f->front_ex, pool, f->hooks, f, &err));
}

static bool on_response(struct http_forward *fw, const struct http_head *in, struct http_head *out,
                        void *arg)
{
    return http_head_find_id(in, HTTP_H_K_LULL_REFUSED) == NULL;
}

static void on_done(struct http_forward *fw, const struct http_forward_result *r, void *arg)
{
    struct fixture *f = arg;
    f->dones++;
    f->result = *r;
    if (r->answered) {
        f->front_ex = NULL;
    } else if (r->body_intact && f->dones < 5) {
        forward(f, f->pool);
    } else {
        http_exchange_respond(f->front_ex, 502, NULL, SLICE_LIT("gave up"));
        f->front_ex = NULL;
    }
}

static const struct http_forward_hooks hooks = {.on_response = on_response, .on_done = on_done};

static const struct http_forward_hooks asking_hooks = {
    .on_response = on_response, .on_done = on_done, .ask_first = true};

static void front_request(struct http_exchange *ex, void *arg)
{
    struct fixture *f = arg;
    f->front_ex = ex;
    forward(f, f->first);
}

/* ---- client and life ---- */

static struct http_server *make_server(struct fixture *f, char *addr,
                                       void (*on_request)(struct http_exchange *, void *))
{
    struct error err;
    struct http_server *s = http_server_new(
        f->loop, &(struct http_server_options){
                     .limits = http_limits_default(), .on_request = on_request, .arg = f});
    ASSERT_OK(http_server_listen_text(s, "127.0.0.1:0", NULL, &err));
    snprintf(addr, ADDR_TEXT_MAX, "127.0.0.1:%u", http_server_port(s));
    f->open++;
    return s;
}

static void start(struct fixture *f, struct loop *loop)
{
    char back[ADDR_TEXT_MAX];
    struct error err;
    struct http_pool_options options = http_pool_options_default();
    *f = (struct fixture){.loop = loop, .hooks = &hooks};
    f->front = make_server(f, f->addr, front_request);
    f->back = make_server(f, back, back_request);
    ASSERT_OK(http_pool_new(loop, back, &options, &f->pool, &err));
    ASSERT_OK(http_pool_new(loop, "unix:/nonexistent/socket", &options, &f->nowhere, &err));
    f->first = f->pool;
    f->open += 2;
}

static void on_closed(void *arg)
{
    struct fixture *f = arg;
    f->open--;
}

static void stop(struct fixture *f)
{
    http_server_close(f->front, on_closed, f);
    http_server_close(f->back, on_closed, f);
    http_pool_close(f->pool, on_closed, f);
    http_pool_close(f->nowhere, on_closed, f);
    LOOP_UNTIL(f->loop, f->open == 0);
}

static void on_answer(int rc, const struct http_client_answer *answer, const struct error *err,
                      void *arg)
{
    struct fixture *f = arg;
    f->answers++;
    f->rc = rc;
    f->status = rc == 0 ? answer->head->status : 0;
    f->got = answer->body.len;
    if (!slice_copy(answer->body, f->text, sizeof(f->text))) {
        f->text[0] = '\0';
    }
}

static struct http_client *post(struct fixture *f, size_t body)
{
    struct error err;
    struct http_client *client = NULL;
    CLEANUP(cleanup_free) char *bytes = xmalloc(body + 1);
    for (size_t i = 0; i < body; i++) {
        bytes[i] = body_byte(i);
    }
    ASSERT_OK(http_client_start(f->loop,
                                &(struct http_client_request){.addr = f->addr,
                                                              .method = "POST",
                                                              .body = slice_of(bytes, body),
                                                              .timeout_ms = 10000,
                                                              .max_body = 1000},
                                on_answer, f, &client, &err));
    return client;
}

static void ask(struct fixture *f, size_t body, int status, const char *text)
{
    unsigned before = f->answers;
    post(f, body);
    LOOP_UNTIL(f->loop, f->answers > before);
    assert_int_equal(f->rc, 0);
    assert_int_equal(f->status, status);
    assert_string_equal(f->text, text);
    assert_int_equal(f->back_wrong, 0);
}

/* ---- tests ---- */

static void takes_back_and_sends_again(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.refuse = 2;
    ask(&f, 50000, 200, "50000");
    assert_int_equal(f.requests, 3);
    assert_int_equal(f.dones, 3);
    f.dones = 0;
    f.refuse = 1;
    ask(&f, 0, 200, "0");
    assert_int_equal(f.dones, 2);
    f.dones = 0;
    f.first = f.nowhere; /* not sent: tried elsewhere */
    ask(&f, 50000, 200, "50000");
    assert_int_equal(f.dones, 2);
    stop(&f);
}

/* Bodies up to what is held come again whole, whether they were copied, kept where they were read,
   or both: what does not come with the first read is copied. */
static void sends_every_byte_again(void **state)
{
    struct fixture f;
    start(&f, *state);
    for (size_t body = 30000; body <= 65536; body += 4442) {
        char text[32];
        snprintf(text, sizeof(text), "%zu", body);
        f.dones = 0;
        f.refuse = 2;
        ask(&f, body, 200, text);
        assert_int_equal(f.dones, 3);
    }
    stop(&f);
}

static void says_when_the_body_is_gone(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.hold = true;
    post(&f, 500000); /* more than is kept: some of it has passed before the refusal */
    LOOP_UNTIL(f.loop, f.back_ex != NULL && f.forward.bytes_in > 65536);
    http_exchange_listen(f.back_ex, NULL, NULL);
    struct http_header room[1];
    struct http_head head;
    http_head_init(&head, room, 1);
    head.status = 503;
    assert_int_equal(http_head_add(&head, SLICE_LIT("K-Lull-Refused"), SLICE_LIT("full")), 0);
    http_exchange_respond_head(f.back_ex, &head, SLICE_LIT("full"));
    LOOP_UNTIL(f.loop, f.answers == 1);
    assert_int_equal(f.result.outcome, HTTP_OUTCOME_TAKEN_BACK);
    assert_false(f.result.body_intact);
    assert_int_equal(f.dones, 1);
    stop(&f);
}

/* Asked for first, a body of any size can go elsewhere. */
static void asks_first(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.hooks = &asking_hooks;
    f.refuse = 2;
    ask(&f, 600000, 200, "600000");
    assert_int_equal(f.dones, 3);
    f.dones = 0;
    ask(&f, 10, 200, "10");
    f.first = f.nowhere;
    f.dones = 0;
    ask(&f, 600000, 200, "600000");
    assert_int_equal(f.dones, 2);
    stop(&f);
}

static void cancels(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.hold = true;
    post(&f, 10);
    LOOP_UNTIL(f.loop, f.back_ex != NULL);
    assert_false(http_forward_cancel(&f.forward, SLICE_LIT("late")));
    http_exchange_respond(f.front_ex, 504, NULL, SLICE_LIT("late"));
    LOOP_UNTIL(f.loop, f.answers == 1 && f.closes == 1); /* the back sees it too */
    assert_int_equal(f.status, 504);
    f.hold = false;
    f.half = true;
    post(&f, 10);
    LOOP_UNTIL(f.loop, f.back_ex != NULL && f.forward.bytes_out == 4);
    assert_true(http_forward_cancel(&f.forward, SLICE_LIT("late")));
    LOOP_UNTIL(f.loop, f.answers == 2 && f.closes == 2);
    assert_int_equal(f.status, 200);
    assert_string_equal(f.text, "halflate");
    assert_int_equal(f.dones, 0);
    assert_false(http_forward_cancel(&f.forward, SLICE_EMPTY));
    stop(&f);
}

static void client_leaves(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.hold = true;
    struct http_client *client = post(&f, 10);
    LOOP_UNTIL(f.loop, f.back_ex != NULL);
    http_client_cancel(client);
    LOOP_UNTIL(f.loop, f.dones == 1 && f.closes == 1);
    assert_int_equal(f.result.outcome, HTTP_OUTCOME_CLIENT_GONE);
    assert_true(f.result.answered);
    stop(&f);
}

static void upstream_breaks_in_the_middle(void **state)
{
    struct fixture f;
    start(&f, *state);
    f.half = true;
    post(&f, 10);
    LOOP_UNTIL(f.loop, f.back_ex != NULL && f.forward.bytes_out == 4);
    http_exchange_abort(f.back_ex);
    LOOP_UNTIL(f.loop, f.answers == 1);
    assert_true(f.rc < 0);
    assert_int_equal(f.result.outcome, HTTP_OUTCOME_FAILED);
    assert_int_equal(f.result.stage, HTTP_STAGE_ANSWERED);
    assert_true(f.result.answered);
    stop(&f);
}

#define T(name) cmocka_unit_test_setup_teardown(name, test_loop_setup, test_loop_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(takes_back_and_sends_again),
        T(sends_every_byte_again),
        T(says_when_the_body_is_gone),
        T(asks_first),
        T(cancels),
        T(client_leaves),
        T(upstream_breaks_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
