// SPDX-License-Identifier: Apache-2.0
/* Numbers, durations, quantities, times, addresses: what is read prints, and reads the same. */
#include "base/clock.h"
#include "base/mem.h"
#include "base/num.h"
#include "base/strbuf.h"
#include "loop/addr.h"
#include "json/jparse.h"

static void durations(struct slice text)
{
    char print[NUM_DURATION_MAX];
    int64_t ns;
    int64_t again;
    if (num_parse_duration_ns(text, &ns, NULL) == 0) {
        num_format_duration_ns(ns, print, sizeof(print));
        int rc = num_parse_duration_ns(slice_str(print), &again, NULL);
        REQUIRE(rc == 0 && again == ns);
    }
}

static void times(struct slice text)
{
    char print[CLOCK_RFC3339_MAX];
    int64_t ns;
    int64_t again;
    if (clock_parse_rfc3339(text, &ns, NULL) == 0 && ns >= 0) {
        clock_format_rfc3339(ns, 9, print, sizeof(print));
        int rc = clock_parse_rfc3339(slice_str(print), &again, NULL);
        REQUIRE(rc == 0 && again == ns);
    }
}

static void addresses(struct slice text)
{
    char print[ADDR_TEXT_MAX];
    struct addr addr;
    struct addr again;
    if (addr_parse(text, &addr, NULL) == 0) {
        addr_format(&addr, print, sizeof(print));
        int rc = addr_parse(slice_str(print), &again, NULL);
        REQUIRE(rc == 0 && addr_eq(&addr, &again));
    }
}

static void numbers(struct slice text)
{
    char print[NUM_DOUBLE_MAX];
    double x;
    double again;
    int64_t milli;
    int64_t whole;
    if (num_parse_double(text, -1e308, 1e308, &x, NULL) == 0) {
        num_format_double(x, print, sizeof(print));
        int rc = num_parse_double(slice_str(print), -1e308, 1e308, &again, NULL);
        REQUIRE(rc == 0 && memcmp(&x, &again, sizeof(x)) == 0);
    }
    if (num_parse_quantity_milli(text, &milli, NULL) == 0) {
        int rc = num_parse_quantity(text, &whole, NULL);
        REQUIRE(rc == 0 && whole >= milli / 1000);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice text = slice_of((const char *)data, size);
    durations(text);
    times(text);
    addresses(text);
    numbers(text);
    /* Every text becomes a JSON string that a strict parser takes. */
    CLEANUP(strbuf_fini) struct strbuf json;
    strbuf_init(&json, 8 << 20);
    json_t *value = NULL;
    if (size < 1 << 20 && memchr(data, '\0', size) == NULL) {
        int rc = strbuf_append_json(&json, text);
        REQUIRE(rc == 0);
        rc = jparse(strbuf_slice(&json), 8 << 20, &value, NULL);
        REQUIRE(rc == 0);
        json_decref(value);
    }
    return 0;
}
