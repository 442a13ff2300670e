// SPDX-License-Identifier: Apache-2.0
/* Plan: the commands that we use stand in one list, which each connection has Redis look at. */
#include "broker/redis_setup.h"

#include "base/mem.h"
#include "base/num.h"
#include "loop/tls.h"
#include "redis/access.h"

#define WAIT_MS      1000
#define REPLICAS_MAX 100

/* Each with arguments, on a key like ours; also what scripts call. */
static const char *const needs[] = {
    "EVAL x 1 lull:x",
    "GET lull:x",
    "SET lull:x a",
    "DEL lull:x",
    "XADD lull:x * a b",
    "XLEN lull:x",
    "XRANGE lull:x - +",
    "XREVRANGE lull:x + -",
    "XREADGROUP GROUP g c STREAMS lull:x >",
    "XACK lull:x g 0-1",
    "XDEL lull:x 0-1",
    "XTRIM lull:x MAXLEN 0",
    "XPENDING lull:x g",
    "XCLAIM lull:x g c 0 0-1",
    "XGROUP CREATE lull:x g 0",
    "XINFO GROUPS lull:x",
    "XINFO STREAM lull:x",
    "ZADD lull:x 0 a",
    "ZREM lull:x a",
    "ZCARD lull:x",
    "ZCOUNT lull:x 0 0",
    "ZSCORE lull:x a",
    "ZRANGE lull:x 0 0",
    "ZRANGEBYSCORE lull:x 0 0",
    "SADD lull:x a",
    "SREM lull:x a",
    "SMEMBERS lull:x",
    "ZREMRANGEBYRANK lull:x 0 0",
    "ZREMRANGEBYSCORE lull:x 0 0",
    "EXISTS lull:x",
    "PEXPIRE lull:x 1",
    "UNLINK lull:x",
    "HSET lull:x a b",
    "HGET lull:x a",
    "HMGET lull:x a",
    "HGETALL lull:x",
    "HDEL lull:x a",
    "HINCRBY lull:x a 1",
    "TIME",
};

static int parse_wait(const struct config *config, struct redis_conn_options *out,
                      struct error *err)
{
    struct slice rest = slice_str(config->redis_wait);
    struct slice count;
    uint64_t n = 0;
    uint64_t ms = WAIT_MS;
    if (slice_empty(rest)) {
        return 0;
    }
    int rc = slice_split(&rest, ':', &count) ? num_parse_u64(count, 0, REPLICAS_MAX, &n, err) : 0;
    if (rc == 0 && rest.ptr != NULL) {
        rc = num_parse_u64(rest, 1, config->redis_timeout_ms - 1, &ms, err);
    }
    if (rc < 0) {
        return error_prefix(err, rc, "--redis-wait \"%.40s\" (N or N:MS)", config->redis_wait);
    }
    out->wait_replicas = (unsigned)n;
    out->wait_ms = ms;
    return 0;
}

int redis_setup(const struct config *config, struct redis_conn_options *out, struct error *err)
{
    *out = (struct redis_conn_options){
        .address = config->redis,
        .address_file = config->redis_file,
        .user_file = config->redis_user_file,
        .password_file = config->redis_password_file,
        .sentinel_password_file = config->redis_sentinel_password_file,
        .ca_file = config->redis_ca,
        .cert_file = config->redis_cert,
        .key_file = config->redis_key,
        .server_name = config->redis_server_name,
        .timeout_ms = config->redis_timeout_ms,
        .store = true,
        .needs = needs,
        .n_needs = ARRAY_LEN(needs),
    };
    return parse_wait(config, out, err);
}

size_t redis_setup_ports(const struct config *config, uint16_t *ports, size_t max)
{
    struct redis_address address;
    struct tls_context *tls;
    size_t n = 0;
    const struct redis_conn_options options = {.address = config->redis,
                                               .address_file = config->redis_file};
    if (redis_access_load(&(struct redis_access){.files = options}, &address, &tls, NULL) < 0) {
        return 0; /* the connection says what is wrong with it */
    }
    if (address.host != NULL && n < max) {
        ports[n++] = address.port;
    }
    for (size_t i = 0; i < address.n_sentinels && n < max; i++) {
        ports[n++] = address.sentinels[i].port;
    }
    tls_context_free(tls);
    redis_address_fini(&address);
    return n;
}
