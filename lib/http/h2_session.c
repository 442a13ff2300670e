// SPDX-License-Identifier: Apache-2.0
/*
 * One HTTP/2 connection over nghttp2, for either end.
 *
 * Happy path: feed hands bytes to nghttp2, whose callbacks fill heads and tell streams' owners;
 * what owners submit is turned into frames by pump, until the stream's queue is full or nothing is
 * due; a drained stream pumps on.
 *
 * Failure: a stream whose fields or body are wrong is reset by nghttp2 and its owner told. A
 * connection that breaks the protocol, or that sends too many frames that cost us and move nothing
 * (resets, SETTINGS, PING, empty DATA …), gets GOAWAY and is dead: its owner closes it.
 */

#include "base/mem.h"
#include "http/h2.h"

#define COST_FRAME 1
#define COST_RESET 2 /* a stream is more work than a frame */

/* ---- what a peer may do how often ---- */

static void charge(struct h2_session *s, int cost)
{
    uint64_t now = loop_now_ms(s->loop);
    uint64_t paid = s->moved / H2_BYTES_PER_CREDIT;
    s->moved -= paid * H2_BYTES_PER_CREDIT;
    if (now > s->credit_ms + 10) {
        uint64_t ms = now - s->credit_ms < 60000 ? now - s->credit_ms : 60000;
        s->credit_ms = now;
        paid += ms * H2_CREDIT_PER_S / 1000;
    }
    s->credit += (int64_t)paid;
    if (s->credit > H2_CREDIT_MAX) {
        s->credit = H2_CREDIT_MAX;
    }
    s->credit -= cost;
    if (s->credit < 0) {
        s->flooded = true;
    }
}

/* ---- streams ---- */

struct h2_stream *h2_stream_new(struct h2_session *s, int32_t id)
{
    struct h2_stream *st = NEW(struct h2_stream);
    st->session = s;
    st->id = id;
    st->head = &st->own;
    h1_message_init(&st->own);
    strbuf_init(&st->out,
                (size_t)s->limits->out_high_bytes +
                    (s->limits->out_burst_bytes > 0 ? s->limits->out_burst_bytes : 1024 * 1024));
    list_init(&st->due);
    deadline_init(&st->stall);
    list_push_back(&s->streams, &st->link);
    s->n_streams++;
    return st;
}

void h2_stream_free(struct h2_stream *st)
{
    struct h2_session *s = st->session;
    if (!st->closed && s->ng != NULL && st->id > 0) {
        nghttp2_session_set_stream_user_data(s->ng, st->id, NULL);
    }
    deadline_clear(&st->stall);
    list_remove(&st->link);
    if (list_linked(&st->due)) {
        list_remove(&st->due);
    }
    s->n_streams--;
    h1_message_fini(&st->own);
    h2_message_free(st->trailing);
    strbuf_fini(&st->out);
    free(st);
}

void h2_stream_due(struct h2_stream *st)
{
    if (!list_linked(&st->due)) {
        list_push_back(&st->session->due, &st->due);
    }
}

struct h2_stream *h2_session_next_due(struct h2_session *s)
{
    struct list *node = list_pop_front(&s->due);
    return node == NULL ? NULL : LIST_ENTRY(node, struct h2_stream, due);
}

/* ---- sending ---- */

static bool submit_trailers(struct h2_stream *st)
{
    struct h2_fields f;
    return st->trailing != NULL && h2_fields_trailers(&f, &st->trailing->head) &&
           nghttp2_submit_trailer(st->session->ng, st->id, f.nv, f.n) == 0;
}

static ssize_t on_data(nghttp2_session *ng, int32_t id, uint8_t *buf, size_t size, uint32_t *flags,
                       nghttp2_data_source *source, void *user)
{
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);
    if (st == NULL) {
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    size_t n = st->out.len - st->out_pos;
    if (n == 0 && !st->ended) {
        return NGHTTP2_ERR_DEFERRED;
    }
    n = n < size ? n : size;
    if (n > 0) {
        memcpy(buf, st->out.ptr + st->out_pos, n);
        st->out_pos += n;
        st->session->moved += n;
        st->taken += n;
    }
    if (st->out_pos == st->out.len) {
        strbuf_fini(&st->out);
        st->out_pos = 0;
        if (st->ended) {
            *flags |= NGHTTP2_DATA_FLAG_EOF;
            if (submit_trailers(st)) {
                *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
            }
        }
    }
    if (st->full && st->out.len - st->out_pos < st->session->limits->out_high_bytes / 2) {
        st->full = false;
        st->writable = true;
        h2_stream_due(st);
    }
    return (ssize_t)n;
}

static const nghttp2_data_provider provider = {.read_callback = on_data};

int h2_stream_request(struct h2_stream *st, const struct http_head *head)
{
    struct h2_session *s = st->session;
    struct h2_fields f;
    if (!h2_fields_request(&f, head)) {
        return ERR_TOO_BIG;
    }
    st->has_data = head->body == HTTP_BODY_STREAM ||
                   (head->body == HTTP_BODY_LENGTH && head->content_length > 0);
    st->ended = !st->has_data;
    int32_t id =
        nghttp2_submit_request(s->ng, NULL, f.nv, f.n, st->has_data ? &provider : NULL, st);
    if (id < 0) {
        return ERR_CLOSED;
    }
    st->id = id;
    return 0;
}

bool h2_stream_inform(struct h2_stream *st, const struct http_head *head)
{
    struct h2_fields f;
    return !st->closed && h2_fields_response(&f, head, (struct slice){0}) &&
           nghttp2_submit_headers(st->session->ng, NGHTTP2_FLAG_NONE, st->id, NULL, f.nv, f.n,
                                  NULL) == 0;
}

bool h2_stream_answer(struct h2_stream *st, const struct http_head *head, struct slice date)
{
    struct h2_fields f;
    st->has_data = head->body == HTTP_BODY_STREAM ||
                   (head->body == HTTP_BODY_LENGTH && head->content_length > 0);
    st->ended = !st->has_data;
    if (st->closed) {
        return true;
    }
    if (!h2_fields_response(&f, head, date) ||
        nghttp2_submit_response(st->session->ng, st->id, f.nv, f.n,
                                st->has_data ? &provider : NULL) != 0) {
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        return false;
    }
    return true;
}

enum http_flow h2_stream_write(struct h2_stream *st, struct slice chunk)
{
    if (st->closed || st->ended || chunk.len == 0) {
        return HTTP_GO;
    }
    if (st->out_pos > 0 && st->out_pos >= st->out.len / 2) {
        strbuf_consume(&st->out, st->out_pos);
        st->out_pos = 0;
    }
    bool was_empty = st->out.len == st->out_pos;
    if (strbuf_append_slice(&st->out, chunk) < 0) { /* its producer did not heed HTTP_FULL */
        h2_stream_reset(st, NGHTTP2_INTERNAL_ERROR);
        return HTTP_GO;
    }
    if (was_empty) { /* fine when the head is still to be sent */
        (void)!nghttp2_session_resume_data(st->session->ng, st->id);
    }
    if (st->out.len - st->out_pos >= st->session->limits->out_high_bytes) {
        st->full = true;
        return HTTP_FULL;
    }
    return HTTP_GO;
}

void h2_stream_trailers(struct h2_stream *st, const struct http_head *trailers)
{
    if (!st->closed && st->has_data && !st->ended && st->trailing == NULL) {
        st->trailing = h2_message_of_trailers(trailers);
    }
}

void h2_stream_end(struct h2_stream *st)
{
    if (!st->closed && !st->ended) {
        st->ended = true;
        (void)!nghttp2_session_resume_data(st->session->ng, st->id);
    }
}

void h2_stream_reset(struct h2_stream *st, uint32_t code)
{
    if (!st->closed && st->id > 0) {
        (void)!nghttp2_submit_rst_stream(st->session->ng, NGHTTP2_FLAG_NONE, st->id, code);
    }
}

void h2_stream_took(struct h2_stream *st)
{
    if (st->unread > 0 && !st->closed) {
        (void)!nghttp2_session_consume_stream(st->session->ng, st->id, st->unread);
    }
    st->unread = 0;
}

void h2_session_pump(struct h2_session *s)
{
    const uint8_t *bytes;
    if (s->busy || s->ng == NULL) {
        return;
    }
    s->busy = true;
    s->out.corked = true;
    while (!s->out.failed && http_out_flow(&s->out) == HTTP_GO) {
        ssize_t n = nghttp2_session_mem_send(s->ng, &bytes);
        if (n <= 0) {
            s->dead = s->dead || n < 0;
            break;
        }
        http_out_write(&s->out, slice_of((const char *)bytes, (size_t)n));
    }
    http_out_flush(&s->out);
    s->busy = false;
}

void h2_session_goaway(struct h2_session *s, uint32_t code)
{
    if (code == NGHTTP2_NO_ERROR) {
        (void)!nghttp2_submit_goaway(s->ng, NGHTTP2_FLAG_NONE,
                                     nghttp2_session_get_last_proc_stream_id(s->ng), code, NULL, 0);
    } else {
        (void)!nghttp2_session_terminate_session(s->ng, code);
    }
}

bool h2_session_over(const struct h2_session *s)
{
    return s->dead ||
           (nghttp2_session_want_read(s->ng) == 0 && nghttp2_session_want_write(s->ng) == 0);
}

/* ---- receiving: nghttp2's callbacks ---- */

/* Anything but CONTINUATION: the block of fields before it has ended, or was ignored. */
static int on_begin_frame(nghttp2_session *ng, const nghttp2_frame_hd *hd, void *user)
{
    struct h2_session *s = user;
    s->reading_head = s->reading_head && hd->type == NGHTTP2_CONTINUATION;
    return 0;
}

static int on_begin_headers(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st;
    s->reading_head = true;
    s->head_raw = 0;
    if (frame->headers.cat == NGHTTP2_HCAT_REQUEST) {
        st = s->events->on_begin(s, frame->hd.stream_id);
        if (st == NULL) {
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
        }
        (void)!nghttp2_session_set_stream_user_data(ng, frame->hd.stream_id, st);
        return 0;
    }
    st = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    if (st != NULL && st->got_head && st->head->trailers == NULL) {
        st->head->trailers = NEW(struct h1_message);
    }
    return 0;
}

static int on_header(nghttp2_session *ng, const nghttp2_frame *frame, const uint8_t *name,
                     size_t name_len, const uint8_t *value, size_t value_len, uint8_t flags,
                     void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id);
    s->head_raw += (uint32_t)(name_len + value_len) + 32;
    if (s->head_raw > 4 * s->limits->max_head_bytes) {
        s->flooded = true; /* far beyond what is refused stream by stream */
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    if (st == NULL || st->status != 0) {
        return 0;
    }
    struct h1_message *m = st->got_head ? st->head->trailers : st->head;
    if (m == NULL) { /* trailers after the owner has gone */
        return 0;
    }
    st->status = h2_message_add(m, slice_of((const char *)name, name_len),
                                slice_of((const char *)value, value_len), s->limits, &st->why);
    return 0;
}

static void got_end(struct h2_stream *st)
{
    bool wanted = st->status == 0;
    if (!st->got_end) {
        st->got_end = true;
        if (wanted) {
            st->session->events->on_end(st);
        }
    }
}

static void got_headers(struct h2_session *s, struct h2_stream *st, bool end)
{
    s->reading_head = false;
    if (st == NULL) {
        return;
    }
    if (st->got_head) {
        if (st->status != 0) { /* trailers over the limits */
            h2_stream_reset(st, NGHTTP2_ENHANCE_YOUR_CALM);
        } else if (end) {
            got_end(st);
        }
        return;
    }
    if (st->status == 0) {
        st->status = s->server ? h2_check_request(st->head, end, &st->why)
                               : h2_check_response(st->head, end, &st->why);
    }
    st->got_head = s->server || st->head->head.status >= 200 || st->status != 0;
    s->events->on_head(st, end);
    if (end) {
        got_end(st);
    }
}

static int on_frame_recv(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st = frame->hd.stream_id > 0
                               ? nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id)
                               : NULL;
    bool end = (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0;
    s->started = true;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
        got_headers(s, st, end);
        return 0;
    case NGHTTP2_DATA:
        if (frame->hd.length == 0 && !end) {
            charge(s, COST_FRAME);
        }
        if (st != NULL && end) {
            got_end(st);
        }
        return 0;
    case NGHTTP2_RST_STREAM:
        charge(s, s->server ? COST_RESET : COST_FRAME);
        return 0;
    case NGHTTP2_GOAWAY:
        s->goaway = true;
        charge(s, COST_FRAME);
        return 0;
    default: /* SETTINGS, PING, WINDOW_UPDATE, PRIORITY and what else there is */
        charge(s, COST_FRAME);
        return 0;
    }
}

static int on_data_chunk(nghttp2_session *ng, uint8_t flags, int32_t id, const uint8_t *bytes,
                         size_t n, void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);
    s->moved += n;
    (void)!nghttp2_session_consume_connection(ng, n);
    if (st == NULL) {
        return 0;
    }
    st->unread += n;
    if (st->status == 0) {
        s->events->on_body(st, slice_of((const char *)bytes, n));
    } else {
        h2_stream_took(st);
    }
    return 0;
}

static int on_frame_send(nghttp2_session *ng, const nghttp2_frame *frame, void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st = frame->hd.stream_id > 0
                               ? nghttp2_session_get_stream_user_data(ng, frame->hd.stream_id)
                               : NULL;
    if (frame->hd.type == NGHTTP2_RST_STREAM && s->server &&
        frame->rst_stream.error_code != NGHTTP2_NO_ERROR) {
        charge(s, COST_RESET); /* a client can make us reset as well as do it */
    }
    if (st == NULL) {
        return 0;
    }
    if (frame->hd.type == NGHTTP2_HEADERS) {
        st->head_sent = true;
    }
    if ((frame->hd.type == NGHTTP2_HEADERS || frame->hd.type == NGHTTP2_DATA) &&
        (frame->hd.flags & NGHTTP2_FLAG_END_STREAM) != 0) {
        st->sent = true;
        s->events->on_sent(st);
    }
    return 0;
}

static int on_stream_close(nghttp2_session *ng, int32_t id, uint32_t code, void *user)
{
    struct h2_session *s = user;
    struct h2_stream *st = nghttp2_session_get_stream_user_data(ng, id);
    if (st != NULL && !st->closed) {
        st->closed = true;
        st->code = code;
        s->events->on_closed(st);
    }
    return 0;
}

/* ---- life ---- */

static nghttp2_session_callbacks *callbacks(void)
{
    nghttp2_session_callbacks *cb;
    if (nghttp2_session_callbacks_new(&cb) != 0) {
        abort();
    }
    nghttp2_session_callbacks_set_on_begin_headers_callback(cb, on_begin_headers);
    nghttp2_session_callbacks_set_on_begin_frame_callback(cb, on_begin_frame);
    nghttp2_session_callbacks_set_on_header_callback(cb, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(cb, on_frame_recv);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, on_data_chunk);
    nghttp2_session_callbacks_set_on_frame_send_callback(cb, on_frame_send);
    nghttp2_session_callbacks_set_on_stream_close_callback(cb, on_stream_close);
    return cb;
}

static void settings(struct h2_session *s)
{
    uint32_t window = s->limits->hold_body_bytes > 0 ? s->limits->hold_body_bytes : 65535;
    const nghttp2_settings_entry entries[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, s->server ? H2_STREAMS_MAX : 0},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, window},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, s->limits->max_head_bytes},
        {NGHTTP2_SETTINGS_ENABLE_PUSH, 0},
    };
    size_t n = ARRAY_LEN(entries) - (s->server ? 1 : 0);
    (void)!nghttp2_submit_settings(s->ng, NGHTTP2_FLAG_NONE, entries, n);
    (void)!nghttp2_session_set_local_window_size(s->ng, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW);
}

void h2_session_init(struct h2_session *s, bool server, struct http_shared *shared,
                     struct stream *stream, struct strbuf *early, const struct http_limits *limits,
                     const struct h2_events *events, void *owner)
{
    *s = (struct h2_session){.server = server,
                             .events = events,
                             .limits = limits,
                             .owner = owner,
                             .loop = shared->loop,
                             .credit = H2_CREDIT_MAX,
                             .credit_ms = loop_now_ms(shared->loop)};
    s->out = (struct http_out){
        .shared = shared, .stream = stream, .early = early, .high = limits->out_high_bytes};
    list_init(&s->streams);
    list_init(&s->due);
    nghttp2_session_callbacks *cb = callbacks();
    nghttp2_option *option;
    if (nghttp2_option_new(&option) != 0) {
        abort();
    }
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_closed_streams(option, 1);
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096);
    int rc = server ? nghttp2_session_server_new2(&s->ng, cb, s, option)
                    : nghttp2_session_client_new2(&s->ng, cb, s, option);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(cb);
    if (rc != 0) {
        abort(); /* memory of small fixed size */
    }
    settings(s);
}

void h2_session_fini(struct h2_session *s)
{
    list_foreach_safe (node, &s->streams) {
        struct h2_stream *st = LIST_ENTRY(node, struct h2_stream, link);
        st->closed = true;
        h2_stream_free(st);
    }
    http_out_drop(&s->out);
    nghttp2_session_del(s->ng);
    s->ng = NULL;
}

void h2_session_feed(struct h2_session *s, const char *bytes, size_t n)
{
    if (s->dead) {
        return;
    }
    s->busy = true;
    ssize_t used = nghttp2_session_mem_recv(s->ng, (const uint8_t *)bytes, n);
    s->busy = false;
    if (s->reading_head) {
        s->head_raw += (uint32_t)n;
        s->flooded = s->flooded || s->head_raw > 4 * s->limits->max_head_bytes + HTTP_READ_SIZE;
    }
    if (s->flooded || used < 0) {
        /* in the middle of a block only a flood of CONTINUATION ends a session */
        bool calm = s->flooded || used == NGHTTP2_ERR_FLOODED || (used < 0 && s->reading_head);
        (void)!nghttp2_session_terminate_session(s->ng, calm ? NGHTTP2_ENHANCE_YOUR_CALM
                                                             : NGHTTP2_PROTOCOL_ERROR);
        h2_session_pump(s);
        s->dead = true;
        return;
    }
    h2_session_pump(s);
}
