// SPDX-License-Identifier: Apache-2.0
/* Plan: texts in, texts out. The scripts stand at the end, each with what it guards against. */
#include "broker/streams.h"

#include "base/mem.h"
#include "base/num.h"

char *stream_key(const char *ns, const char *broker, const char *what)
{
    return xasprintf("lull:{%s/%s}:%s", ns, broker, what);
}

char *stream_trigger_key(const char *ns, const char *broker, const char *uid, const char *what)
{
    return xasprintf("lull:{%s/%s}:t:%s%s", ns, broker, uid, what);
}

const char *const stream_trigger_parts[] = {"", ":retry", ":held", ":dead", ":taken", NULL};

struct slice stream_id_ms(struct slice id)
{
    ptrdiff_t dash = slice_find(id, '-');
    return dash < 0 ? SLICE_EMPTY : slice_sub(id, 0, (size_t)dash);
}

bool stream_id_valid(struct slice id)
{
    uint64_t n;
    ptrdiff_t dash = slice_find(id, '-');
    return dash > 0 &&
           num_parse_u64(slice_sub(id, 0, (size_t)dash), 0, UINT64_MAX, &n, NULL) == 0 &&
           num_parse_u64(slice_sub(id, (size_t)dash + 1, id.len), 0, UINT64_MAX, &n, NULL) == 0;
}

/* As Redis writes them, without zeros in front. */
static int compare_digits(struct slice a, struct slice b)
{
    return a.len != b.len ? (a.len < b.len ? -1 : 1) : memcmp(a.ptr, b.ptr, a.len);
}

int stream_id_compare(struct slice a, struct slice b)
{
    struct slice a_ms = stream_id_ms(a);
    struct slice b_ms = stream_id_ms(b);
    int order = compare_digits(a_ms, b_ms);
    return order != 0
               ? order
               : compare_digits(slice_sub(a, a_ms.len, a.len), slice_sub(b, b_ms.len, b.len));
}

void stream_state_write(const struct stream_state *s, struct strbuf *out)
{
    strbuf_appendf(out, "%c %u %d %.*s", s->phase == PHASE_DELIVER ? 'd' : 'l', s->attempt, s->code,
                   SLICE_FMT(s->data));
}

int stream_state_read(struct slice text, struct stream_state *out, struct error *err)
{
    struct stream_state s = {.phase = PHASE_DELIVER, .data = SLICE_EMPTY};
    struct slice rest = text;
    struct slice phase, attempt, code;
    uint64_t n_attempt = 0;
    uint64_t n_code = 0;
    if (slice_empty(text)) {
        *out = s;
        return 0;
    }
    bool good = slice_split(&rest, ' ', &phase) && slice_split(&rest, ' ', &attempt) &&
                slice_split(&rest, ' ', &code) && rest.ptr != NULL &&
                (slice_eq_str(phase, "d") || slice_eq_str(phase, "l")) &&
                num_parse_u64(attempt, 0, UINT32_MAX, &n_attempt, NULL) == 0 &&
                num_parse_u64(code, 0, 999, &n_code, NULL) == 0;
    if (!good) {
        return error_set(err, ERR_PROTOCOL, "\"%.*s\" is no state of a delivery",
                         (int)(text.len < 100 ? text.len : 100), text.ptr);
    }
    s.phase = slice_eq_str(phase, "d") ? PHASE_DELIVER : PHASE_DEAD_LETTER;
    s.attempt = (uint32_t)n_attempt;
    s.code = (int)n_code;
    s.data = rest;
    *out = s;
    return 0;
}

/*
 * A trigger whose stream is gone was deleted: NOMKSTREAM does not bring it back. A reference has
 * the id of its event, so that the first entry of a stream is the oldest; one that comes too late
 * for that (another worker was faster) gets an id of the moment, a state, and a place among the
 * held.
 */
const char stream_script_dispatch[] =
    "local i, done, lost = 1, 0, 0\n"
    "while i <= #ARGV do\n"
    "  local id, n = ARGV[i], tonumber(ARGV[i + 1])\n"
    "  if redis.call('XACK', KEYS[1], 'dispatch', id) == 1 then\n"
    "    for j = i + 2, i + 1 + n do\n"
    "      local key, held = KEYS[tonumber(ARGV[j])], KEYS[tonumber(ARGV[j]) + 1]\n"
    "      local new = redis.pcall('XADD', key, 'NOMKSTREAM', id, 'r', id)\n"
    "      if type(new) == 'table' then\n"
    "        new = redis.call('XADD', key, 'NOMKSTREAM', '*', 'r', id, 's', 'd 0 0 ')\n"
    "        redis.call('ZADD', held, string.match(id, '^%d+'), id)\n"
    "      end\n"
    "      if new then done = done + 1 else lost = lost + 1 end\n"
    "    end\n"
    "  end\n"
    "  i = i + 2 + n\n"
    "end\n"
    "return {done, lost}\n";

const char stream_script_retry[] =
    "if redis.call('XACK', KEYS[1], 'deliver', ARGV[1]) == 0 then return 0 end\n"
    "redis.call('XDEL', KEYS[1], ARGV[1])\n"
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[3])\n"
    "redis.call('ZADD', KEYS[3], string.match(ARGV[2], '^%d+'), ARGV[2])\n"
    "return 1\n";

const char stream_script_due[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now, 'LIMIT', 0, ARGV[1])\n"
    "for _, m in ipairs(due) do\n"
    "  redis.call('ZREM', KEYS[2], m)\n"
    "  local r, s = string.match(m, '^%S+ (%S+) (.*)$')\n"
    "  if r then redis.call('XADD', KEYS[1], '*', 'r', r, 's', s) end\n"
    "end\n"
    "local next = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')\n"
    "if next[2] then return {#due, math.max(0, math.ceil(next[2] - now))} end\n"
    "return {#due, -1}\n";

/* The second time the event may be held again: by a reference that was written since (REPLAY). */
const char stream_script_done[] =
    "if redis.call('XACK', KEYS[1], 'deliver', ARGV[1]) == 0 then return 0 end\n"
    "redis.call('XDEL', KEYS[1], ARGV[1])\n"
    "redis.call('ZREM', KEYS[2], ARGV[2])\n"
    "return 1\n";

const char stream_script_dead[] =
    "if redis.call('XACK', KEYS[1], 'deliver', ARGV[1]) == 0 then return 0 end\n"
    "redis.call('XDEL', KEYS[1], ARGV[1])\n"
    "redis.call('ZREM', KEYS[3], ARGV[7])\n"
    "if ARGV[5] == '1' then\n"
    "  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[3], 'd', ARGV[4], 'x', "
    "ARGV[6])\n"
    "else\n"
    "  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', 'e', ARGV[3], 'x', ARGV[6])\n"
    "end\n"
    "return 1\n";

/*
 * The bound: what is not dispatched, what a trigger has not done, what waits for a retry. All at
 * once, because an entry may move from one of these to the next between two looks. Of all triggers
 * that have a stream, which are not only those that this worker has heard of.
 */
const char stream_script_trim[] =
    "local len = redis.call('XLEN', KEYS[1])\n"
    "local excess = len - tonumber(ARGV[1])\n"
    "if excess <= 0 then return {len, 0} end\n"
    "local function parts(id)\n"
    "  local a, b = string.match(id, '^(%d+)-?(%d*)$')\n"
    "  return tonumber(a), tonumber(b) or 0\n"
    "end\n"
    "local ms, seq\n"
    "local function bound(a, b)\n"
    "  if ms == nil or a < ms or (a == ms and b < seq) then ms, seq = a, b end\n"
    "end\n"
    "for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do\n"
    "  local f = {}\n"
    "  for i = 1, #g, 2 do f[g[i]] = g[i + 1] end\n"
    "  if f['name'] == 'dispatch' then\n"
    "    local a, b = parts(f['last-delivered-id'])\n"
    "    bound(a, b + 1)\n"
    "    local p = redis.call('XPENDING', KEYS[1], 'dispatch')\n"
    "    if p[1] > 0 then bound(parts(p[2])) end\n"
    "  end\n"
    "end\n"
    "if ms == nil then return {len, 0} end\n"
    "for _, uid in ipairs(redis.call('SMEMBERS', KEYS[2])) do\n"
    "  local key = ARGV[2] .. uid\n"
    "  local first = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]\n"
    "  if first then\n"
    "    bound(parts(first[1]))\n"
    "    for j = 1, #first[2], 2 do\n"
    "      if first[2][j] == 'r' then bound(parts(first[2][j + 1])) end\n"
    "    end\n"
    "  end\n"
    "  local held = redis.call('ZRANGE', key .. ':held', 0, 0, 'WITHSCORES')\n"
    "  if held[2] then bound(tonumber(held[2]), 0) end\n"
    "end\n"
    "local gone = redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f-%.0f', ms, seq), "
    "'LIMIT', excess)\n"
    "return {len - gone, gone}\n";

/* The times are as long as each other, so that texts compare as they do. */
const char stream_script_born[] =
    "local o = redis.call('GET', KEYS[1])\n"
    "if o and string.match(o, '^%S*') > string.match(ARGV[1], '^%S*') then return 0 end\n"
    "redis.call('SET', KEYS[1], ARGV[1])\n"
    "return 1\n";

const char stream_script_known[] =
    "return {redis.call('GET', KEYS[1]) or '', redis.call('SMEMBERS', KEYS[2])}\n";

/* A worker may hear late that a Broker was deleted, when another knows its successor. */
const char stream_script_drop[] = "local o = redis.call('GET', KEYS[1])\n"
                                  "if o and o ~= ARGV[1] then return 0 end\n"
                                  "for _, uid in ipairs(redis.call('SMEMBERS', KEYS[3])) do\n"
                                  "  for _, part in ipairs({'', ':retry', ':held', ':dead', "
                                  "':taken'}) do\n"
                                  "    redis.call('UNLINK', ARGV[2] .. uid .. part)\n"
                                  "  end\n"
                                  "end\n"
                                  "redis.call('UNLINK', KEYS[1], KEYS[2], KEYS[3])\n"
                                  "return 1\n";

const char stream_script_take[] =
    "local p = redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[4], ARGV[2])\n"
    "if #p == 0 then\n"
    "  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])\n"
    "  return 0\n"
    "end\n"
    "local args = {'XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0}\n"
    "for _, e in ipairs(p) do args[#args + 1] = e[1] end\n"
    "args[#args + 1] = 'JUSTID'\n"
    "redis.call(unpack(args))\n"
    "return #p\n";

const char stream_script_own[] = "local o = redis.call('GET', KEYS[1])\n"
                                 "if o and o ~= ARGV[1] then return 0 end\n"
                                 "redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])\n"
                                 "return 1\n";

const char stream_script_release[] = "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end\n"
                                     "return redis.call('DEL', KEYS[1])\n";

const char stream_script_take_all[] =
    "local from, n = '-', 0\n"
    "repeat\n"
    "  local p = redis.call('XPENDING', KEYS[1], ARGV[1], from, '+', 1000)\n"
    "  local args = {'XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0}\n"
    "  for _, e in ipairs(p) do\n"
    "    from = '(' .. e[1]\n"
    "    if e[2] ~= ARGV[2] then args[#args + 1] = e[1] end\n"
    "  end\n"
    "  if #args > 5 then\n"
    "    n = n + #args - 5\n"
    "    args[#args + 1] = 'JUSTID'\n"
    "    redis.call(unpack(args))\n"
    "  end\n"
    "until #p < 1000\n"
    "return n\n";

const char stream_script_alive[] = "local t = redis.call('TIME')\n"
                                   "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
                                   "redis.call('ZADD', KEYS[1], now, ARGV[1])\n"
                                   "return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - "
                                   "tonumber(ARGV[2]), 'LIMIT', 0, 16)\n";

const char stream_script_forget[] =
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000)\n"
    "local last = tonumber(redis.call('ZSCORE', KEYS[1], ARGV[1]))\n"
    "if not last or last > now - tonumber(ARGV[2]) then return 0 end\n"
    "return redis.call('ZREM', KEYS[1], ARGV[1])\n";

/* The time is Redis' own: workers' clocks may differ. */
const char stream_script_once[] =
    "local t = redis.call('TIME')\n"
    "local now, within = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[2])\n"
    "local came = redis.call('ZSCORE', KEYS[2], ARGV[1])\n"
    "if came and tonumber(came) > now - within then return 0 end\n"
    "local args = {'XADD', KEYS[1], 'NOMKSTREAM', '*', 'e', ARGV[4]}\n"
    "if ARGV[5] then args[7] = 'd' args[8] = ARGV[5] end\n"
    "local id = redis.call(unpack(args))\n"
    "if not id then return false end\n"
    "redis.call('ZADD', KEYS[2], now, ARGV[1])\n"
    "redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - within)\n"
    "redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - tonumber(ARGV[3]))\n"
    "redis.call('PEXPIRE', KEYS[2], within)\n"
    "return id\n";
