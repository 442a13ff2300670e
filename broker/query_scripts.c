// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: texts. A script that reads payloads takes a few entries at a time and stops when it has
 * looked at enough bytes, so that neither Redis nor the worker holds much because somebody asks.
 */
#include "broker/query_scripts.h"

const char query_script_numbers[] =
    "local function first(key)\n"
    "  local e = redis.call('XRANGE', key, '-', '+', 'COUNT', 1)[1]\n"
    "  return e and e[1] or ''\n"
    "end\n"
    "local behind = 0\n"
    "if redis.call('EXISTS', KEYS[1]) == 1 then\n"
    "  for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do\n"
    "    local f = {}\n"
    "    for i = 1, #g, 2 do f[g[i]] = g[i + 1] end\n"
    "    if f['name'] == 'dispatch' then behind = (f['lag'] or 0) + f['pending'] end\n"
    "  end\n"
    "end\n"
    "local out = {{redis.call('XLEN', KEYS[1]), first(KEYS[1]), behind}}\n"
    "for i = 2, #KEYS, 3 do\n"
    "  local due = redis.call('ZRANGE', KEYS[i + 1], 0, 0, 'WITHSCORES')[2]\n"
    "  out[#out + 1] = {redis.call('XLEN', KEYS[i]), first(KEYS[i]),\n"
    "    redis.call('ZCARD', KEYS[i + 1]), due or '', redis.call('XLEN', KEYS[i + 2])}\n"
    "end\n"
    "return out\n";

/*
 * Where a reader stands is counted by the entries ever added, so that it learns how many it missed:
 * those that were trimmed before it came to them, and those that it leaves out because it is too
 * far behind. "$" only tells where the end is.
 */
const char query_script_list[] =
    "local from, most, show = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[4])\n"
    "local at, behind = tonumber(ARGV[5]), tonumber(ARGV[6])\n"
    "local out, bytes, more, passed = {}, 0, 0, 0\n"
    "if redis.call('EXISTS', KEYS[1]) == 0 then return {0, 0, out, 0, 0, '0-0'} end\n"
    "local len, info, f = redis.call('XLEN', KEYS[1]), redis.call('XINFO', 'STREAM', KEYS[1]), {}\n"
    "for i = 1, #info, 2 do f[info[i]] = info[i + 1] end\n"
    "local added, last = f['entries-added'] or len, f['last-generated-id']\n"
    "if from == '$' then return {len, 0, out, added, 0, last} end\n"
    "if at >= 0 then\n"
    "  passed = math.max(0, added - len - at)\n"
    "  at = at + passed\n"
    "  if added - at > behind then\n"
    "    local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 16)\n"
    "    if newest[1] then\n"
    "      from = newest[#newest][1]\n"
    "      passed = passed + added - at - #newest\n"
    "    end\n"
    "  end\n"
    "end\n"
    "repeat\n"
    "  local got = redis.call('XRANGE', KEYS[1], from, ARGV[2], 'COUNT', 8)\n"
    "  more = #got\n"
    "  for _, entry in ipairs(got) do\n"
    "    if #out >= most or bytes >= 1048576 then break end\n"
    "    local g = {}\n"
    "    for i = 1, #entry[2], 2 do g[entry[2][i]] = entry[2][i + 1] end\n"
    "    local e, d = g['e'] or '', g['d']\n"
    "    local shown = d and #d <= show and d or ''\n"
    "    out[#out + 1] = {entry[1], e, g['x'] or '', g['t'] or '', d and #d or -1, shown, g['n'] "
    "or ''}\n"
    "    bytes = bytes + #e + #shown + (d and #d or 0) / 8\n"
    "    from = '(' .. entry[1]\n"
    "    more = more - 1\n"
    "  end\n"
    "until #got < 8 or more > 0\n"
    "return {len, more > 0 and 1 or 0, out, added, passed, last}\n";

/*
 * Into the stream first: what Redis has no room for stays where it is. What cannot be tried again
 * is passed over; such entries have little data, and there are no more of them than dead are kept.
 */
const char query_script_again[] =
    "local last = ARGV[3]\n"
    "if last == '' then\n"
    "  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
    "  if not newest then return {0, 0, '', 0, 0} end\n"
    "  last = newest[1]\n"
    "end\n"
    "local moved, bytes, full, stuck, from = 0, 0, 0, 0, ARGV[2]\n"
    "local function following()\n"
    "  while true do\n"
    "    local e = redis.call('XRANGE', KEYS[1], from, last, 'COUNT', 1)[1]\n"
    "    if not e then return nil end\n"
    "    local kept = false\n"
    "    for i = 1, #e[2], 2 do kept = kept or e[2][i] == 'n' end\n"
    "    if not kept then return e end\n"
    "    stuck = stuck + 1\n"
    "    from = '(' .. e[1]\n"
    "  end\n"
    "end\n"
    "local room = tonumber(ARGV[5]) - redis.call('XLEN', KEYS[2])\n"
    "local next = following()\n"
    "while next and moved < tonumber(ARGV[4]) and bytes < 1048576 do\n"
    "  if moved >= room then full = 1 break end\n"
    "  local add = {'XADD', KEYS[2], 'NOMKSTREAM', '*', 't', ARGV[1]}\n"
    "  for i = 1, #next[2], 2 do\n"
    "    if next[2][i] ~= 'x' then\n"
    "      add[#add + 1] = next[2][i]\n"
    "      add[#add + 1] = next[2][i + 1]\n"
    "      bytes = bytes + #next[2][i + 1]\n"
    "    end\n"
    "  end\n"
    "  local new = redis.pcall(unpack(add))\n"
    "  if type(new) ~= 'string' then full = 1 break end\n"
    "  redis.call('XDEL', KEYS[1], next[1])\n"
    "  moved = moved + 1\n"
    "  next = following()\n"
    "end\n"
    "return {moved, next and 1 or 0, last, full, stuck}\n";

const char query_script_drop[] =
    "local last = ARGV[2]\n"
    "if last == '' then\n"
    "  local newest = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
    "  if not newest then return {0, 0, ''} end\n"
    "  last = newest[1]\n"
    "end\n"
    "local dropped, bytes = 0, 0\n"
    "local got = redis.call('XRANGE', KEYS[1], ARGV[1], last, 'COUNT', 4)\n"
    "while #got > 0 and dropped < tonumber(ARGV[3]) and bytes < 8388608 do\n"
    "  for _, entry in ipairs(got) do\n"
    "    for i = 2, #entry[2], 2 do bytes = bytes + #entry[2][i] end\n"
    "    dropped = dropped + redis.call('XDEL', KEYS[1], entry[1])\n"
    "  end\n"
    "  got = redis.call('XRANGE', KEYS[1], ARGV[1], last, 'COUNT', 4)\n"
    "end\n"
    "return {dropped, #got > 0 and 1 or 0, last}\n";

/*
 * A trigger has an event already while a reference with its id is in the stream (never tried) or
 * its id is among the held (tried, or written here): one event is held once, by one reference. It
 * is held from now on, so trimming waits for it.
 */
const char query_script_replay[] =
    "local written, has, gone = 0, 0, 0\n"
    "for _, id in ipairs(ARGV) do\n"
    "  if redis.call('ZSCORE', KEYS[3], id) or\n"
    "     #redis.call('XRANGE', KEYS[2], id, id) > 0 then\n"
    "    has = has + 1\n"
    "  elseif #redis.call('XRANGE', KEYS[1], id, id) == 0 then\n"
    "    gone = gone + 1\n"
    "  elseif redis.call('XADD', KEYS[2], 'NOMKSTREAM', '*', 'r', id, 's', 'd 0 0 ') then\n"
    "    redis.call('ZADD', KEYS[3], string.match(id, '^%d+'), id)\n"
    "    written = written + 1\n"
    "  else\n"
    "    gone = gone + 1\n"
    "  end\n"
    "end\n"
    "return {written, has, gone}\n";

const char query_script_bound[] =
    "if redis.call('EXISTS', KEYS[1]) == 0 then return {0, '', ''} end\n"
    "local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]\n"
    "local last = ''\n"
    "for _, g in ipairs(redis.call('XINFO', 'GROUPS', KEYS[1])) do\n"
    "  local f = {}\n"
    "  for i = 1, #g, 2 do f[g[i]] = g[i + 1] end\n"
    "  if f['name'] == 'dispatch' then\n"
    "    last = f['last-delivered-id']\n"
    "    local p = redis.call('XPENDING', KEYS[1], 'dispatch')\n"
    "    if p[1] > 0 then\n"
    "      local e = redis.call('XREVRANGE', KEYS[1], '(' .. p[2], '-', 'COUNT', 1)[1]\n"
    "      last = e and e[1] or ''\n"
    "    end\n"
    "  end\n"
    "end\n"
    "return {redis.call('XLEN', KEYS[1]), first and first[1] or '', last}\n";
