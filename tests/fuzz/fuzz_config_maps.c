// SPDX-License-Identifier: Apache-2.0
// Input: a line with the ConfigMap's name, then its data, one entry after the other: a line with
// the key, and lines with the value, up to a line "==". A map that is taken must give a host to a
// Route with labels of its own; one that is not must say why, and change nothing.

#include "json/jbuild.h"
#include "serving/config_check.h"
#include "serving/config_network.h"
#include "serving/names.h"
#include "serving/traffic.h"
#include "fuzz.h"

enum { NAME_ROOM = 64, KEY_ROOM = 300, HOST_BYTES = 4096 };

static struct slice line_of(struct slice *text)
{
    ptrdiff_t end = slice_find(*text, '\n');
    struct slice line = end < 0 ? *text : slice_sub(*text, 0, (size_t)end);
    *text = end < 0 ? SLICE_EMPTY : slice_sub(*text, (size_t)end + 1, text->len);
    return line;
}

static json_t *data_of(struct slice text)
{
    json_t *data = json_object();
    while (text.len > 0) {
        char key[KEY_ROOM];
        struct slice name = line_of(&text);
        const char *from = text.ptr;
        const char *to = from;
        while (text.len > 0) {
            struct slice line = line_of(&text);
            if (slice_eq_str(line, "==")) {
                break;
            }
            to = line.ptr + line.len;
        }
        json_t *value = json_stringn(from, (size_t)(to - from)); // NULL: not UTF-8
        if (value != NULL && slice_copy(name, key, sizeof(key))) {
            json_object_set(data, key, value); // fails for a key that is not UTF-8
        }
        json_decref(value);
    }
    return data;
}

static void print_hosts(const struct network_config *config)
{
    json_t *metadata = json_pack("{s:{s:s,s:s},s:{s:s}}", "labels", "app", "shop", "team", "red",
                                 "annotations", "sub", "deep");
    struct network_config network = network_of(config, metadata);
    CLEANUP(strbuf_fini) struct strbuf host;
    strbuf_init(&host, HOST_BYTES);
    MUST_HOLD(network.domain[0] != '\0');
    traffic_host(&network, "default", "hello", NULL, &host);
    traffic_host(&network, "default", "hello", "tag", &host);
    traffic_url(&network, "default", "hello", "tag", &host);
    json_decref(metadata);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct slice text = {(const char *)bytes, size};
    char name[NAME_ROOM];
    struct error err = {0};
    if (size > 64u * 1024 || !slice_copy(line_of(&text), name, sizeof(name))) {
        return 0;
    }
    json_t *data = data_of(text);
    int rc = config_check(name, data, &err);
    MUST_HOLD(rc == 0 || err.msg[0] != '\0');

    struct network_config config;
    network_config_init(&config);
    struct network_config before = config;
    if (network_config_read(&config, data, NULL) < 0) {
        MUST_HOLD(memcmp(&before, &config, sizeof(config)) == 0);
    }
    (void)!domain_config_read(&config, data, NULL);
    print_hosts(&config);
    network_config_fini(&config);
    json_decref(data);
    return 0;
}
