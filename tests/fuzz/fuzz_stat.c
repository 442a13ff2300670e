// SPDX-License-Identifier: Apache-2.0
// Input: the bytes of a report. Whatever is believed is within bounds and can be sent on and read
// again as the same.

#include "serving/stat.h"
#include "fuzz.h"

static void believable(const struct stat_sample *s)
{
    MUST_HOLD(s->concurrency >= 0 && s->concurrency <= STAT_VALUE_MAX);
    MUST_HOLD(s->proxied_concurrency >= 0 && s->proxied_concurrency <= STAT_VALUE_MAX);
    MUST_HOLD(s->request_count >= 0 && s->request_count <= STAT_VALUE_MAX);
    MUST_HOLD(s->proxied_request_count >= 0 && s->proxied_request_count <= STAT_VALUE_MAX);
    MUST_HOLD(s->process_uptime_s >= 0 && s->process_uptime_s <= STAT_VALUE_MAX);
    MUST_HOLD(s->pod_name.len <= STAT_NAME_MAX);
}

static void send_on(const struct stat_message *m)
{
    CLEANUP(strbuf_fini) struct strbuf out;
    struct stat_message again;
    struct error err;
    strbuf_init(&out, STAT_MESSAGE_BYTES);
    MUST_HOLD(stat_message_append(m, &out, &err) == 0);
    struct stat_reader reader = {.rest = strbuf_slice(&out)};
    MUST_HOLD(stat_reader_next(&reader, &again, &err) == 1);
    MUST_HOLD(slice_eq(m->name, again.name) && slice_eq(m->namespace_name, again.namespace_name));
    MUST_HOLD(memcmp(&m->sample.concurrency, &again.sample.concurrency, sizeof(double)) == 0 ||
              m->sample.concurrency == again.sample.concurrency);
    MUST_HOLD(reader.rest.len == 0 && reader.dropped == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice bytes = {(const char *)data, size};
    struct stat_reader reader = {.rest = bytes};
    struct stat_message m;
    struct stat_sample s;
    struct error err;

    if (stat_decode(bytes, &s, &err) == 0) {
        believable(&s);
    }
    while (stat_reader_next(&reader, &m, &err) == 1) {
        believable(&m.sample);
        send_on(&m);
    }
    return 0;
}
