// SPDX-License-Identifier: Apache-2.0
#include "echo.h"

#include "test.h"

static char pattern(size_t at)
{
    return (char)(at * 31 + at / 251);
}

static void give_up(struct echo *e, const struct error *err)
{
    if (!e->failed) {
        e->err = *err;
    }
    e->failed = true;
    echo_close(e);
}

static struct stream_buffer on_buffer(struct stream *s)
{
    struct echo_end *end = s->data;
    return (struct stream_buffer){end->buf, sizeof(end->buf)};
}

static void on_error(struct stream *s, const struct error *err)
{
    struct echo_end *end = s->data;
    assert_false(end->closed);
    give_up(end->echo, err);
}

static void on_shut(struct stream *s, const struct error *err)
{
    struct echo_end *end = s->data;
    end->echo->completions++;
    if (err != NULL) {
        give_up(end->echo, err);
    }
}

static void shut(struct echo_end *end)
{
    struct error err;
    if (stream_shutdown(&end->s, on_shut, &err) < 0) {
        give_up(end->echo, &err);
    } else {
        end->echo->starts++;
    }
}

/* --- client --- */

static void client_send(struct echo *e)
{
    struct error err;
    char chunk[ECHO_CHUNK];
    while (e->sent < e->total && stream_queued_bytes(&e->client.s) == 0) {
        size_t n = e->total - e->sent < sizeof(chunk) ? e->total - e->sent : sizeof(chunk);
        for (size_t i = 0; i < n; i++) {
            chunk[i] = pattern(e->sent + i);
        }
        /* Two pieces, cut at an odd place. */
        struct iovec iov[2] = {{chunk, n / 3}, {chunk + n / 3, n - n / 3}};
        if (stream_write(&e->client.s, iov, 2, &err) < 0) {
            give_up(e, &err);
            return;
        }
        e->sent += n;
    }
    if (e->sent == e->total && !e->shut) {
        e->shut = true;
        stream_read_start(&e->client.s);
        shut(&e->client);
    }
}

static void client_read(struct stream *s, char *bytes, size_t n)
{
    struct echo_end *end = s->data;
    struct echo *e = end->echo;
    assert_ptr_equal(bytes, end->buf);
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != pattern(e->received + i)) {
            fail_msg("byte %zu differs", e->received + i);
        }
    }
    e->received += n;
}

static void client_end(struct stream *s)
{
    struct echo_end *end = s->data;
    end->echo->ok = end->echo->received == end->echo->total;
    echo_close(end->echo);
}

static void client_drain(struct stream *s)
{
    struct echo_end *end = s->data;
    assert_int_equal(stream_queued_bytes(s), 0);
    client_send(end->echo);
}

static const struct stream_events client_events = {.on_buffer = on_buffer,
                                                   .on_read = client_read,
                                                   .on_end = client_end,
                                                   .on_drain = client_drain,
                                                   .on_error = on_error};

static void on_connect(struct stream *s, const struct error *err)
{
    struct echo_end *end = s->data;
    struct echo *e = end->echo;
    e->completions++;
    if (err != NULL) {
        give_up(e, err);
        return;
    }
    /* It begins to read only when the server is stuck, or when all is sent. */
    client_send(e);
}

/* --- server --- */

static void server_read(struct stream *s, char *bytes, size_t n)
{
    struct echo_end *end = s->data;
    struct error err;
    if (stream_write_bytes(s, bytes, n, &err) < 0) {
        give_up(end->echo, &err);
    } else if (stream_queued_bytes(s) > 0) {
        end->echo->paused++;
        stream_read_stop(s);
        stream_read_start(&end->echo->client.s);
    }
}

static void server_drain(struct stream *s)
{
    stream_read_start(s);
}

static void server_end(struct stream *s)
{
    shut(s->data);
}

static const struct stream_events server_events = {.on_buffer = on_buffer,
                                                   .on_read = server_read,
                                                   .on_end = server_end,
                                                   .on_drain = server_drain,
                                                   .on_error = on_error};

static void on_connection(struct listener *l)
{
    struct echo *e = l->data;
    struct error err;
    e->server.started = true;
    if (listener_accept(l, &e->server.s, &server_events, &e->server, &err) < 0) {
        give_up(e, &err);
        return;
    }
    stream_read_start(&e->server.s);
}

/* --- both --- */

void echo_start(struct echo *e, struct loop *loop, const char *address, size_t total)
{
    struct error err;
    struct addr addr;
    e->loop = loop;
    e->total = total;
    e->client.echo = e;
    e->server.echo = e;
    ASSERT_OK(addr_parse(slice_str(address), &addr, &err));
    if (listener_start(&e->listener, loop, &addr, &e->listen, on_connection, e, &err) < 0) {
        give_up(e, &err);
        return;
    }
    e->client.started = true;
    stream_init(&e->client.s, loop, &client_events, &e->client);
    if (stream_connect(&e->client.s, listener_addr(&e->listener), on_connect, &err) < 0) {
        give_up(e, &err);
        return;
    }
    e->starts++;
    if (e->secure_client != NULL && e->secure_client(e->secure_arg, &e->client.s, &err) < 0) {
        give_up(e, &err);
    }
}

static void end_closed(struct stream *s)
{
    struct echo_end *end = s->data;
    assert_false(end->closed);
    end->closed = true;
    memset(s, 0x5a, sizeof(*s)); /* the memory is ours again */
}

static void listener_closed(struct listener *l)
{
    struct echo *e = l->data;
    assert_false(e->listener_closed);
    e->listener_closed = true;
}

void echo_close(struct echo *e)
{
    listener_close(&e->listener, listener_closed);
    struct echo_end *ends[] = {&e->client, &e->server};
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (ends[i]->started && !ends[i]->closed) {
            stream_close(&ends[i]->s, end_closed);
        }
    }
}

bool echo_closed(const struct echo *e)
{
    return e->listener_closed && (!e->client.started || e->client.closed) &&
           (!e->server.started || e->server.closed);
}
