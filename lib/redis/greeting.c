// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: a table of steps: whether it is said at all, what is said, what the answer means. HELLO
 * tells version, role and kind of a server to everybody. The rights are asked of Redis itself, by a
 * script that does nothing else.
 */
#include "redis/greeting.h"

#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/num.h"
#include "redis/command.h"
#include "redis/reply.h"

#define VERSION_MIN 7

/* Which of the commands, each a text with its arguments, the user may not use. */
static const char rights_script[] =
    "local no = {}\n"
    "for _, text in ipairs(ARGV) do\n"
    "  local words = {}\n"
    "  for w in string.gmatch(text, '%S+') do words[#words + 1] = w end\n"
    "  local asked, may = pcall(redis.acl_check_cmd, unpack(words))\n"
    "  if asked and not may then no[#no + 1] = words[1] end\n"
    "end\n"
    "return table.concat(no, ', ')\n";

static void say(struct strbuf *out, const char *const *words, size_t n)
{
    redis_command_begin(out, n);
    for (size_t i = 0; i < n; i++) {
        redis_command_arg(out, slice_str(words[i]));
    }
}

#define SAY(out, ...)                            \
    say(out, (const char *const[]){__VA_ARGS__}, \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

static int fails(const struct redisReply *reply, const struct error *failure, struct error *err)
{
    if (failure != NULL && err != NULL) {
        *err = *failure;
    }
    return failure == NULL ? 0 : (int)failure->code;
}

/* --- who we are ---------------------------------------------------------------------------- */

static bool has_password(const struct redis_greeting *g)
{
    return g->address->password != NULL;
}

static void say_auth(const struct redis_greeting *g, struct strbuf *out)
{
    if (g->address->user != NULL) {
        SAY(out, "AUTH", g->address->user, g->address->password);
    } else {
        SAY(out, "AUTH", g->address->password);
    }
}

static int take_auth(struct redis_greeting *g, const struct redisReply *reply,
                     const struct error *failure, struct error *err)
{
    if (failure == NULL) {
        return 0;
    }
    if (strstr(failure->msg, "without any password") != NULL) {
        return error_set(err, ERR_DENIED,
                         "redis has no password for the default user, but one was given");
    }
    return failure->code != ERR_DENIED
               ? fails(reply, failure, err)
               : error_set(err, ERR_DENIED,
                           "redis does not know the user \"%.100s\" or its password (%.200s)",
                           g->address->user == NULL ? "default" : g->address->user, failure->msg);
}

static bool has_db(const struct redis_greeting *g)
{
    return g->address->db > 0;
}

static void say_select(const struct redis_greeting *g, struct strbuf *out)
{
    char db[16];
    snprintf(db, sizeof(db), "%u", g->address->db);
    SAY(out, "SELECT", db);
}

static int take_select(struct redis_greeting *g, const struct redisReply *reply,
                       const struct error *failure, struct error *err)
{
    int rc = fails(reply, failure, err);
    return rc < 0 ? error_prefix(err, rc, "database %u", g->address->db) : 0;
}

static bool has_name(const struct redis_greeting *g)
{
    return g->client_name != NULL;
}

static void say_name(const struct redis_greeting *g, struct strbuf *out)
{
    SAY(out, "CLIENT", "SETNAME", g->client_name);
}

static int take_name(struct redis_greeting *g, const struct redisReply *reply,
                     const struct error *failure, struct error *err)
{
    /* Not worth a connection, unless it says that we may do nothing at all. */
    return failure != NULL && strstr(failure->msg, "NOAUTH") != NULL ? fails(reply, failure, err)
                                                                     : 0;
}

static bool always(const struct redis_greeting *g)
{
    return true;
}

/* Answers LOADING while Redis reads its disk. */
static void say_ping(const struct redis_greeting *g, struct strbuf *out)
{
    SAY(out, "PING");
}

static int take_ping(struct redis_greeting *g, const struct redisReply *reply,
                     const struct error *failure, struct error *err)
{
    return fails(reply, failure, err);
}

/* --- what it is ---------------------------------------------------------------------------- */

static bool is_store(const struct redis_greeting *g)
{
    return g->store;
}

static bool wants_hello(const struct redis_greeting *g)
{
    return g->store || g->address->n_sentinels > 0;
}

static void say_hello(const struct redis_greeting *g, struct strbuf *out)
{
    SAY(out, "HELLO", "2");
}

static struct slice field(const struct redisReply *reply, const char *name)
{
    for (size_t i = 0; i + 1 < redis_reply_len(reply); i += 2) {
        if (slice_eq_str(redis_reply_text(redis_reply_at(reply, i)), name)) {
            return redis_reply_text(redis_reply_at(reply, i + 1));
        }
    }
    return SLICE_EMPTY;
}

static int too_old(struct slice version, struct error *err)
{
    return error_set(err, ERR_UNSUPPORTED, "redis %.*s is too old: version %d or newer is needed",
                     (int)(version.len < 32 ? version.len : 32), version.ptr, VERSION_MIN);
}

static int check_role(const struct redis_greeting *g, struct slice role, struct error *err)
{
    if (!slice_eq_str(role, "replica") && !slice_eq_str(role, "slave")) {
        return 0;
    }
    return g->address->n_sentinels > 0
               ? error_set(err, ERR_UNAVAILABLE,
                           "Sentinel named a replica as the master %.100s: it is asked again",
                           g->address->master)
               : error_set(err, ERR_UNSUPPORTED,
                           "this redis is a replica, which takes no writes: name its master, or "
                           "the Sentinels (redis+sentinel://HOST:26379,…/MASTER)");
}

static int take_hello(struct redis_greeting *g, const struct redisReply *reply,
                      const struct error *failure, struct error *err)
{
    uint64_t major = 0;
    if (failure != NULL && strstr(failure->msg, "unknown command") != NULL) {
        return g->store ? too_old(SLICE_LIT("before 6"), err) : 0;
    }
    if (failure != NULL) {
        return fails(reply, failure, err);
    }
    struct slice version = field(reply, "version");
    struct slice rest = version;
    struct slice first = SLICE_EMPTY;
    if (!slice_split(&rest, '.', &first) || num_parse_u64(first, 0, 1000000, &major, NULL) < 0) {
        return error_set(err, ERR_PROTOCOL, "redis does not tell its version");
    }
    if (g->store && major < VERSION_MIN) {
        return too_old(version, err);
    }
    if (slice_eq_str(field(reply, "mode"), "sentinel")) {
        return error_set(err, ERR_UNSUPPORTED,
                         "this is a Sentinel: name it as redis+sentinel://HOST:26379/MASTER");
    }
    g->clustered = slice_eq_str(field(reply, "mode"), "cluster");
    return check_role(g, field(reply, "role"), err);
}

/* The value behind "\nname:" in what INFO and CLUSTER INFO answer; empty: it is not there. */
static struct slice line_of(struct slice text, const char *name)
{
    struct slice line;
    size_t len = strlen(name);
    while (slice_split(&text, '\n', &line)) {
        if (line.len > len && memcmp(line.ptr, name, len) == 0 && line.ptr[len] == ':') {
            struct slice value = slice_sub(line, len + 1, line.len);
            value.len -= value.len > 0 && value.ptr[value.len - 1] == '\r';
            return value;
        }
    }
    return SLICE_EMPTY;
}

static bool is_clustered(const struct redis_greeting *g)
{
    return g->store && g->clustered;
}

static void say_cluster(const struct redis_greeting *g, struct strbuf *out)
{
    SAY(out, "CLUSTER", "INFO");
}

static int take_cluster(struct redis_greeting *g, const struct redisReply *reply,
                        const struct error *failure, struct error *err)
{
    uint64_t size = 0;
    struct slice text = line_of(redis_reply_text(reply), "cluster_size");
    if (num_parse_u64(text, 0, UINT32_MAX, &size, NULL) == 0 && size > 1) {
        return error_set(err, ERR_UNSUPPORTED,
                         "this redis is one of %llu nodes of a cluster; a single server is needed, "
                         "or one that Sentinel keeps (redis+sentinel://)",
                         (unsigned long long)size);
    }
    return 0;
}

/* --- whether it keeps what it takes -------------------------------------------------------- */

static void say_info(const struct redis_greeting *g, struct strbuf *out)
{
    SAY(out, "INFO", "memory", "persistence");
}

static void warn(const struct redis_greeting *g, const char *text)
{
    if (g->warn != NULL) {
        g->warn(g->arg, text);
    }
}

static int take_info(struct redis_greeting *g, const struct redisReply *reply,
                     const struct error *failure, struct error *err)
{
    struct slice text = redis_reply_text(reply);
    struct slice policy = line_of(text, "maxmemory_policy");
    bool bounded = !slice_eq_str(line_of(text, "maxmemory"), "0");
    char words[400];
    if (failure != NULL) {
        warn(g, "redis does not let us use INFO: whether it evicts keys, or keeps nothing on disk, "
                "is not known");
        return 0;
    }
    if (policy.len > 0 && !slice_eq_str(policy, "noeviction")) {
        bool all = slice_starts_with(policy, SLICE_LIT("allkeys"));
        if (all && bounded) {
            return error_set(err, ERR_UNSUPPORTED,
                             "redis would throw away what was accepted when its memory is full "
                             "(maxmemory-policy %.*s): CONFIG SET maxmemory-policy noeviction",
                             SLICE_FMT(policy));
        }
        snprintf(words, sizeof(words),
                 "maxmemory-policy of redis is %.*s, noeviction is needed: %s", (int)policy.len,
                 policy.ptr,
                 all ? "with a maxmemory it would throw events away"
                     : "it may throw away what has a time to live");
        warn(g, words);
    }
    if (slice_eq_str(line_of(text, "aof_enabled"), "0")) {
        warn(g, "redis has no append-only file (appendonly no): what was accepted since its last "
                "snapshot is lost when it ends");
    }
    return 0;
}

static bool has_needs(const struct redis_greeting *g)
{
    return g->store && g->n_needs > 0;
}

static void say_rights(const struct redis_greeting *g, struct strbuf *out)
{
    redis_command_begin(out, 3 + g->n_needs);
    redis_command_arg(out, SLICE_LIT("EVAL"));
    redis_command_arg(out, slice_str(rights_script));
    redis_command_arg(out, SLICE_LIT("0"));
    for (size_t i = 0; i < g->n_needs; i++) {
        redis_command_arg(out, slice_str(g->needs[i]));
    }
}

static int take_rights(struct redis_greeting *g, const struct redisReply *reply,
                       const struct error *failure, struct error *err)
{
    struct slice no = redis_reply_text(reply);
    int rc = fails(reply, failure, err);
    const char *user = g->address->user == NULL ? "default" : g->address->user;
    if (rc == ERR_INVALID && strstr(failure->msg, "acl_check_cmd") != NULL) {
        return 0; /* one that cannot be asked */
    }
    if (rc < 0 || no.len == 0) {
        return rc;
    }
    return error_set(
        err, ERR_DENIED,
        "the user \"%.100s\" of redis may not use %.*s on our keys: ACL SETUSER %.100s "
        "~lull:* +@read +@write +@connection +@scripting +time",
        user, (int)(no.len < 400 ? no.len : 400), no.ptr, user);
}

/* --- the steps ----------------------------------------------------------------------------- */

static const struct {
    bool (*applies)(const struct redis_greeting *g);
    void (*say)(const struct redis_greeting *g, struct strbuf *out);
    int (*take)(struct redis_greeting *g, const struct redisReply *reply,
                const struct error *failure, struct error *err);
} steps[] = {
    {has_password, say_auth, take_auth}, {wants_hello, say_hello, take_hello},
    {has_db, say_select, take_select},   {has_name, say_name, take_name},
    {always, say_ping, take_ping},       {is_clustered, say_cluster, take_cluster},
    {is_store, say_info, take_info},     {has_needs, say_rights, take_rights},
};

bool redis_greeting_next(struct redis_greeting *g, struct strbuf *out)
{
    while (g->step < ARRAY_LEN(steps) && !steps[g->step].applies(g)) {
        g->step++;
    }
    if (g->step == ARRAY_LEN(steps)) {
        return false;
    }
    steps[g->step].say(g, out);
    return true;
}

int redis_greeting_take(struct redis_greeting *g, const struct redisReply *reply,
                        const struct error *failure, struct error *err)
{
    if (failure != NULL && strstr(failure->msg, "NOAUTH") != NULL) {
        return error_set(err, ERR_DENIED, "redis asks for a password, and none was given (%.200s)",
                         failure->msg);
    }
    return steps[g->step++].take(g, reply, failure, err);
}
