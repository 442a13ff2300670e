// SPDX-License-Identifier: Apache-2.0
//
// bench-filters COUNT: what one core does in a second, in millions: evaluations of a Trigger's
// filter (events take turns, half of them match), and readings and writings of an event with 1 KiB
// of data. A line for each row, "name<TAB>rate".
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/mem.h"
#include "events/event_http.h"
#include "events/filter.h"

enum { EVENTS = 64, DATA_BYTES = 1024, BATCH = 16, CODEC_SHARE = 20 };

static const struct {
    const char *name;
    const char *filters;
} ROWS[] = {
    {"exact", "[{\"exact\":{\"type\":\"com.example.order.made\"}}]"},
    {"prefix", "[{\"prefix\":{\"type\":\"com.example.order.\"}}]"},
    {"suffix", "[{\"suffix\":{\"type\":\".made\"}}]"},
    {"exact-extension", "[{\"exact\":{\"region\":\"north\"}}]"},
    {"exact-two", "[{\"exact\":{\"type\":\"com.example.order.made\",\"source\":\"/shop/2\"}}]"},
    {"any-of-four",
     "[{\"any\":[{\"exact\":{\"type\":\"a\"}},{\"prefix\":{\"source\":\"/b\"}},"
     "{\"suffix\":{\"subject\":\"c\"}},{\"exact\":{\"type\":\"com.example.order.made\"}}]}]"},
    {"cesql-equal", "[{\"cesql\":\"type = 'com.example.order.made'\"}]"},
    {"cesql-like", "[{\"cesql\":\"type LIKE 'com.%.made'\"}]"},
    {"cesql", "[{\"cesql\":\"type LIKE 'com.example.order.%' AND (int(amount) > 50 OR region IN "
              "('south', 'west')) AND EXISTS subject\"}]"},
    {"cesql-texts",
     "[{\"cesql\":\"LOWER(region) = 'north' AND LENGTH(CONCAT(source, '/', subject)) > 5\"}]"},
};

static void set(struct event *ev, const char *name, const char *value)
{
    REQUIRE(event_set(ev, slice_str(name), slice_str(value), NULL) == 0);
}

static void make(struct event *ev, unsigned i)
{
    char text[32];
    event_init(ev);
    set(ev, "specversion", "1.0");
    (void)snprintf(text, sizeof(text), "id-%u", i);
    set(ev, "id", text);
    (void)snprintf(text, sizeof(text), "/shop/%u", i % 4);
    set(ev, "source", text);
    set(ev, "type", i % 2 == 0 ? "com.example.order.made" : "com.example.stock.left");
    (void)snprintf(text, sizeof(text), "customer-%u", i);
    set(ev, "subject", text);
    set(ev, "time", "2026-01-31T12:00:00Z");
    set(ev, "datacontenttype", "application/json");
    set(ev, "knativearrivaltime", "2026-01-31T12:00:00.123456789Z");
    REQUIRE(event_set_i64(ev, SLICE_LIT("knativebrokerttl"), 255, NULL) == 0);
    set(ev, "region", i % 2 == 0 ? "north" : "south");
    (void)snprintf(text, sizeof(text), "%u", i * 3);
    set(ev, "amount", text);
}

static double processor_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int run(const char *name, const char *filters, const struct event *events,
               unsigned long count)
{
    struct error err;
    struct filter *f;
    json_t *spec = json_pack("{s:o}", "filters", json_loads(filters, 0, NULL));
    if (filter_compile(spec, &f, &err) < 0) {
        fprintf(stderr, "%s: %s\n", name, err.msg);
        return 1;
    }
    json_decref(spec);
    unsigned long matched = 0;
    double begun = processor_seconds();
    for (unsigned long i = 0; i < count; i++) {
        matched += filter_match(f, &events[i % EVENTS]);
    }
    printf("%s\t%.2f\n", name, (double)count / (processor_seconds() - begun) / 1e6);
    filter_free(f);
    return matched == 0 || matched == count; /* it told them apart */
}

/* --- reading and writing ---------------------------------------------------------------------- */

struct codec {
    struct event *ev;
    struct event_headers headers;
    struct event_header structured;
    struct event_header batched;
    struct strbuf json;
    struct strbuf batch;
    struct strbuf packed;
    struct strbuf out;
};

static bool read_message(const struct event_header *headers, size_t n, struct slice body)
{
    struct event_batch batch;
    bool fine = event_http_read(headers, n, body, &batch, NULL) == 0;
    if (fine) {
        event_batch_fini(&batch);
    }
    return fine;
}

static bool read_binary(struct codec *c)
{
    return read_message(c->headers.items, c->headers.n, c->ev->data);
}

static bool read_structured(struct codec *c)
{
    return read_message(&c->structured, 1, strbuf_slice(&c->json));
}

static bool read_batch(struct codec *c)
{
    return read_message(&c->batched, 1, strbuf_slice(&c->batch));
}

static bool write_binary(struct codec *c)
{
    struct event_headers headers;
    bool fine = event_http_binary(c->ev, &headers, NULL) == 0;
    if (fine) {
        event_headers_fini(&headers);
    }
    return fine;
}

static bool write_structured(struct codec *c)
{
    strbuf_clear(&c->out);
    return event_http_structured(c->ev, &c->out, NULL) == 0;
}

static bool pack(struct codec *c)
{
    strbuf_clear(&c->out);
    event_pack(c->ev, &c->out);
    return strbuf_ok(&c->out);
}

static bool unpack(struct codec *c)
{
    struct event ev;
    bool fine = event_unpack(strbuf_slice(&c->packed), c->ev->data, &ev, NULL) == 0;
    if (fine) {
        event_fini(&ev);
    }
    return fine;
}

static const struct {
    const char *name;
    bool (*run)(struct codec *c);
    unsigned events; /* of one run */
} CODEC_ROWS[] = {
    {"read-binary", read_binary, 1},
    {"read-structured", read_structured, 1},
    {"read-batch", read_batch, BATCH},
    {"write-binary", write_binary, 1},
    {"write-structured", write_structured, 1},
    {"pack", pack, 1},
    {"unpack", unpack, 1},
};

/* An object with one long text. */
static struct slice data_of(char *room)
{
    int len = snprintf(room, DATA_BYTES + 1, "{\"order\": %*d, \"text\": \"", 10, 7);
    memset(room + len, 'x', DATA_BYTES - (size_t)len);
    memcpy(room + DATA_BYTES - 2, "\"}", 2);
    return slice_of(room, DATA_BYTES);
}

static int run_codec(struct event *ev, unsigned long count)
{
    char data[DATA_BYTES + 1];
    int failed = 0;
    struct codec c = {.ev = ev,
                      .structured = {SLICE_LIT("content-type"), SLICE_LIT(EVENT_TYPE_STRUCTURED)},
                      .batched = {SLICE_LIT("content-type"), SLICE_LIT(EVENT_TYPE_BATCH)}};
    ev->data = data_of(data);
    strbuf_init(&c.json, 1 << 20);
    strbuf_init(&c.batch, 1 << 20);
    strbuf_init(&c.packed, 1 << 20);
    strbuf_init(&c.out, 1 << 20);
    REQUIRE(event_http_binary(ev, &c.headers, NULL) == 0);
    REQUIRE(event_http_structured(ev, &c.json, NULL) == 0);
    for (unsigned i = 0; i < BATCH; i++) {
        strbuf_append_char(&c.batch, i == 0 ? '[' : ',');
        strbuf_append_slice(&c.batch, strbuf_slice(&c.json));
    }
    strbuf_append_char(&c.batch, ']');
    event_pack(ev, &c.packed);
    for (size_t i = 0; i < ARRAY_LEN(CODEC_ROWS); i++) {
        unsigned long runs = count / CODEC_SHARE / CODEC_ROWS[i].events + 1;
        double begun = processor_seconds();
        for (unsigned long k = 0; k < runs; k++) {
            failed |= !CODEC_ROWS[i].run(&c);
        }
        double seconds = processor_seconds() - begun;
        printf("%s\t%.3f\n", CODEC_ROWS[i].name,
               (double)runs * CODEC_ROWS[i].events / seconds / 1e6);
    }
    event_headers_fini(&c.headers);
    strbuf_fini(&c.json);
    strbuf_fini(&c.batch);
    strbuf_fini(&c.packed);
    strbuf_fini(&c.out);
    ev->data = (struct slice){NULL, 0};
    return failed;
}

int main(int argc, char **argv)
{
    static struct event events[EVENTS];
    unsigned long count = argc == 2 ? strtoul(argv[1], NULL, 10) : 0;
    int failed = 0;
    if (count < EVENTS) {
        fprintf(stderr, "usage: bench-filters COUNT (at least %d)\n", EVENTS);
        return 2;
    }
    for (unsigned i = 0; i < EVENTS; i++) {
        make(&events[i], i);
    }
    for (size_t i = 0; i < ARRAY_LEN(ROWS); i++) {
        failed |= run(ROWS[i].name, ROWS[i].filters, events, count);
    }
    failed |= run_codec(&events[0], count);
    for (unsigned i = 0; i < EVENTS; i++) {
        event_fini(&events[i]);
    }
    return failed;
}
