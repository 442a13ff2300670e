// SPDX-License-Identifier: Apache-2.0
/* Plan: texts in, texts out; the scripts stand at the end, each with what it guards against. */
#include "broker/async_store.h"

#include "base/mem.h"
#include "base/num.h"
#include "base/random.h"
#include "base/sha256.h"
#include "http/head.h"

static bool is_label(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
            return false;
        }
    }
    return text.len > 0;
}

int async_callee(struct slice callee, struct slice *out_name, struct slice *out_ns,
                 struct error *err)
{
    struct slice rest = callee;
    struct slice svc;
    struct slice label;
    bool good = callee.len <= ASYNC_CALLEE_MAX && slice_split(&rest, '.', out_name) &&
                slice_split(&rest, '.', out_ns) && slice_split(&rest, '.', &svc) &&
                is_label(*out_name) && is_label(*out_ns) && slice_eq_str(svc, "svc") &&
                !slice_empty(rest);
    while (good && slice_split(&rest, '.', &label)) {
        good = is_label(label);
    }
    return good ? 0
                : error_set(err, ERR_INVALID,
                            "\"%.*s\" is not the private name of a function (NAME.NAMESPACE.svc.…)",
                            SLICE_FMT(slice_sub(callee, 0, ASYNC_CALLEE_MAX)));
}

char *async_tag(struct slice ns, struct slice name, char *buf)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    const struct slice parts[] = {ns, SLICE_LIT("/"), name};
    sha256(parts, ARRAY_LEN(parts), digest);
    memcpy(buf, sha256_hex(digest, hex), ASYNC_TAG_LEN);
    buf[ASYNC_TAG_LEN] = '\0';
    return buf;
}

char *async_id_make(const char *tag, int64_t wall_s, char *buf)
{
    char secret[ASYNC_RANDOM_LEN + 1];
    snprintf(buf, ASYNC_ID_LEN + 1, "%.8s%08llx%s", tag, (unsigned long long)wall_s & 0xffffffffu,
             random_hex(secret, ASYNC_RANDOM_LEN));
    return buf;
}

bool async_id_valid(struct slice id)
{
    for (size_t i = 0; i < id.len; i++) {
        char c = id.ptr[i];
        if (!((c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'))) {
            return false;
        }
    }
    return id.len == ASYNC_ID_LEN;
}

int64_t async_id_time(struct slice id)
{
    int64_t s = 0;
    for (size_t i = ASYNC_TAG_LEN; i < ASYNC_TAG_LEN + ASYNC_TIME_LEN; i++) {
        char c = id.ptr[i];
        s = s * 16 + (c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return s;
}

char *async_key(struct slice tag, const char *what, char *buf)
{
    snprintf(buf, ASYNC_KEY_MAX, "lull:{async/%.*s}:%s", (int)ASYNC_TAG_LEN, tag.ptr, what);
    return buf;
}

char *async_call_key(struct slice id, char *buf)
{
    snprintf(buf, ASYNC_KEY_MAX, "lull:{async/%.*s}:call:%.*s", (int)ASYNC_TAG_LEN, id.ptr,
             SLICE_FMT(id));
    return buf;
}

char *async_idem_key(struct slice tag, struct slice callee, struct slice key, char *buf)
{
    unsigned char digest[SHA256_BYTES];
    char hex[SHA256_HEX + 1];
    const struct slice parts[] = {callee, SLICE_LIT("\n"), key};
    sha256(parts, ARRAY_LEN(parts), digest);
    snprintf(buf, ASYNC_KEY_MAX, "lull:{async/%.*s}:idem:%s", (int)ASYNC_TAG_LEN, tag.ptr,
             sha256_hex(digest, hex));
    return buf;
}

void async_headers_add(struct strbuf *out, struct slice name, struct slice value)
{
    strbuf_append_slice(out, name);
    strbuf_append_char(out, '\0');
    strbuf_append_slice(out, value);
    strbuf_append_char(out, '\0');
}

bool async_headers_next(struct slice *rest, struct slice *name, struct slice *value)
{
    return slice_split(rest, '\0', name) && rest->ptr != NULL && slice_split(rest, '\0', value);
}

bool async_keeps_header(struct slice name)
{
    static const bool left_out[HTTP_H_N] = {
        [HTTP_H_DATE] = true,
        [HTTP_H_CONNECTION] = true,
        [HTTP_H_KEEP_ALIVE] = true,
        [HTTP_H_CONTENT_LENGTH] = true,
        [HTTP_H_TRANSFER_ENCODING] = true,
        [HTTP_H_TRAILER] = true,
        [HTTP_H_TE] = true,
        [HTTP_H_UPGRADE] = true,
        [HTTP_H_PROXY_CONNECTION] = true,
        [HTTP_H_PROXY_AUTHENTICATE] = true,
    };
    return !left_out[http_header_id(name)];
}

bool async_retry_wanted(int status)
{
    return status == 0 || status == 408 || status == 429 || (status >= 500 && status != 501);
}

#define NOW                          \
    "local t = redis.call('TIME')\n" \
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"

/* An idem key whose call is gone (its result went a moment earlier) is as good as none. */
const char async_script_add[] =
    NOW "if ARGV[2] ~= '' then\n"
        "  local id, print = string.match(redis.call('GET', KEYS[5]) or '', '^(%x+) (%x+)$')\n"
        "  if id and redis.call('EXISTS', string.gsub(KEYS[4], ARGV[1], '') .. id) == 1 then\n"
        "    if print == ARGV[2] then return {2, id} end\n"
        "    return {3}\n"
        "  end\n"
        "end\n"
        "redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)\n"
        "local n = redis.call('ZCARD', KEYS[1]) + redis.call('ZCARD', KEYS[2]) + "
        "redis.call('ZCARD', KEYS[3])\n"
        "if n >= tonumber(ARGV[3]) then return {4, n} end\n"
        "redis.call('HSET', KEYS[4], 't', now, 'n', 0, 'N', 0, 'c', 0, 's', 'waiting')\n"
        "for i = 4, #ARGV, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end\n"
        "if ARGV[2] ~= '' then\n"
        "  redis.call('HSET', KEYS[4], 'k', KEYS[5])\n"
        "  redis.call('SET', KEYS[5], ARGV[1] .. ' ' .. ARGV[2])\n"
        "end\n"
        "redis.call('ZADD', KEYS[1], now, ARGV[1])\n"
        "return {1}\n";

const char async_script_claim[] =
    NOW "local lost = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, 100)\n"
        "for _, id in ipairs(lost) do\n"
        "  redis.call('ZREM', KEYS[2], id)\n"
        "  redis.call('ZADD', KEYS[1], now, id)\n"
        "end\n"
        "redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)\n"
        "local calls = {}\n"
        "for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, "
        "ARGV[2])) do\n"
        "  local key = ARGV[1] .. id\n"
        "  redis.call('ZREM', KEYS[1], id)\n"
        "  if redis.call('EXISTS', key) == 1 then\n"
        "    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[3]), id)\n"
        "    local call = {id, redis.call('HINCRBY', key, 'c', 1)}\n"
        "    if redis.call('HGET', key, 's') ~= 'done' then\n"
        "      redis.call('HSET', key, 's', 'running')\n"
        "    end\n"
        "    for i = 4, #ARGV do call[#call + 1] = redis.call('HGET', key, ARGV[i]) end\n"
        "    calls[#calls + 1] = call\n"
        "  end\n"
        "end\n"
        "local next = redis.call('ZRANGE', KEYS[1], 0, 0, 'WITHSCORES')\n"
        "local wait = next[2] and math.max(0, math.ceil(next[2] - now)) or -1\n"
        "return {#lost, redis.call('ZCARD', KEYS[1]), redis.call('ZCARD', KEYS[2]), "
        "redis.call('ZCARD', KEYS[3]), wait, calls, redis.call('ZCOUNT', KEYS[1], '-inf', now)}\n";

const char async_script_renew[] =
    NOW "for i = 2, #ARGV do\n"
        "  redis.call('ZADD', KEYS[1], 'XX', now + tonumber(ARGV[1]), ARGV[i])\n"
        "end\n"
        "return 1\n";

/* Who was taken for dead and comes back late has an old claim: what it says does not count. */
const char async_script_settle[] =
    NOW "if redis.call('HGET', KEYS[4], 'c') ~= ARGV[2] then return 0 end\n"
        "for i = 5, #ARGV, 2 do redis.call('HSET', KEYS[4], ARGV[i], ARGV[i + 1]) end\n"
        "redis.call('ZREM', KEYS[2], ARGV[1])\n"
        "local done = redis.call('HGET', KEYS[4], 's') == 'done'\n"
        "if done then redis.call('HDEL', KEYS[4], 'b', 'H') end\n"
        "if ARGV[3] == 'again' then\n"
        "  redis.call('ZADD', KEYS[1], now + tonumber(ARGV[4]), ARGV[1])\n"
        "  return 1\n"
        "end\n"
        "redis.call('ZADD', KEYS[3], now + tonumber(ARGV[4]), ARGV[1])\n"
        "redis.call('PEXPIRE', KEYS[4], ARGV[4])\n"
        "local k = redis.call('HGET', KEYS[4], 'k')\n"
        "if k then redis.call('PEXPIRE', k, ARGV[4]) end\n"
        "return 1\n";

const char async_script_drop[] = "local k = redis.call('HGET', KEYS[4], 'k')\n"
                                 "if k then redis.call('DEL', k) end\n"
                                 "for i = 1, 3 do redis.call('ZREM', KEYS[i], ARGV[1]) end\n"
                                 "return redis.call('DEL', KEYS[4])\n";

const char async_script_quiet[] =
    NOW "redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)\n"
        "for i = 1, 3 do if redis.call('EXISTS', KEYS[i]) == 1 then return 0 end end\n"
        "return 1\n";

const char async_script_forget[] =
    "if redis.call('ZSCORE', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end\n"
    "return redis.call('ZREM', KEYS[1], ARGV[1])\n";
