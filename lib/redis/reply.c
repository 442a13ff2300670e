// SPDX-License-Identifier: Apache-2.0
/*
 * Plan: look at the type first, always. hiredis' parser makes whatever size an answer claims; an
 * array is refused here before its table is made.
 */
#include "redis/reply.h"

#include <stdlib.h>

#include <hiredis/hiredis.h>

#include "base/mem.h"
#include "base/num.h"

#define ARRAY_MAX (1 << 20) /* elements of one array */

size_t redis_reply_len(const struct redisReply *r)
{
    return r != NULL && r->type == REDIS_REPLY_ARRAY ? r->elements : 0;
}

const struct redisReply *redis_reply_at(const struct redisReply *r, size_t i)
{
    return i < redis_reply_len(r) ? r->element[i] : NULL;
}

bool redis_reply_is_text(const struct redisReply *r)
{
    return r != NULL && (r->type == REDIS_REPLY_STRING || r->type == REDIS_REPLY_STATUS);
}

struct slice redis_reply_text(const struct redisReply *r)
{
    return redis_reply_is_text(r) ? slice_of(r->str, r->len) : SLICE_EMPTY;
}

int64_t redis_reply_int(const struct redisReply *r, int64_t or)
{
    int64_t n;
    if (r != NULL && r->type == REDIS_REPLY_INTEGER) {
        return r->integer;
    }
    return redis_reply_is_text(r) &&
                   num_parse_i64(redis_reply_text(r), INT64_MIN, INT64_MAX, &n, NULL) == 0
               ? n
               : or
        ;
}

bool redis_reply_is_nil(const struct redisReply *r)
{
    return r == NULL || r->type == REDIS_REPLY_NIL;
}

bool redis_reply_field(const struct redisReply *fields, const char *name, struct slice *out)
{
    for (size_t i = 0; i + 1 < redis_reply_len(fields); i += 2) {
        if (slice_eq_str(redis_reply_text(redis_reply_at(fields, i)), name)) {
            *out = redis_reply_text(redis_reply_at(fields, i + 1));
            return true;
        }
    }
    return false;
}

int redis_reply_error(const struct redisReply *r, struct error *err)
{
    if (r != NULL && r->type == REDIS_REPLY_ERROR) {
        return redis_error_of(slice_of(r->str, r->len), err);
    }
    for (size_t i = 0; i < redis_reply_len(r); i++) {
        const struct redisReply *element = r->element[i];
        if (element != NULL && element->type == REDIS_REPLY_ERROR) {
            return redis_error_of(slice_of(element->str, element->len), err);
        }
    }
    return 0;
}

int redis_error_of(struct slice text, struct error *err)
{
    static const struct {
        const char *word;
        enum err_code code;
    } rows[] = {
        {"NOGROUP", ERR_NOT_FOUND},
        {"BUSYGROUP", ERR_EXISTS},
        {"OOM", ERR_OVERLOAD},
        {"LOADING", ERR_UNAVAILABLE},
        {"READONLY", ERR_UNAVAILABLE},
        {"MASTERDOWN", ERR_UNAVAILABLE},
        {"CLUSTERDOWN", ERR_UNAVAILABLE},
        {"BUSY", ERR_UNAVAILABLE},
        {"MISCONF", ERR_UNAVAILABLE},
        {"NOREPLICAS", ERR_UNAVAILABLE},
        {"NOAUTH", ERR_DENIED},
        {"NOPERM", ERR_DENIED},
        {"WRONGPASS", ERR_DENIED},
        {"MOVED", ERR_UNSUPPORTED},
        {"ASK", ERR_UNSUPPORTED},
        {"CROSSSLOT", ERR_UNSUPPORTED},
    };
    struct slice rest = text;
    struct slice word = SLICE_EMPTY;
    enum err_code code = ERR_INVALID;
    if (slice_split(&rest, ' ', &word)) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            if (slice_eq_str(word, rows[i].word)) {
                code = rows[i].code;
            }
        }
    }
    /* A single node of a cluster, or one with all slots, never says so. */
    bool elsewhere = slice_eq_str(word, "MOVED") || slice_eq_str(word, "ASK");
    return error_set(err, code, "redis: %.*s%s", (int)(text.len < 512 ? text.len : 512), text.ptr,
                     elsewhere ? " (the key is on another node of a cluster: a single server is "
                                 "needed, or one that Sentinel keeps)"
                               : "");
}

/* --- the parser --------------------------------------------------------------------------------
 */

/*
 * An answer of many entries is thousands of small objects that all go at once: they are cut from
 * blocks of its own. Its root stands first in the first of them.
 */
#define BLOCK_FIRST 480 /* most answers are small */
#define BLOCK_MAX   (64u * 1024)
#define ALIGN       16
#define READER_KEEP (512u * 1024) /* bytes of the parser's buffer that stay for the next answer */

struct block {
    struct block *next;
    size_t cap; /* of bytes */
    _Alignas(ALIGN) char bytes[];
};

struct maker {
    redisReplyObjectFunctions fn;
    struct block *last; /* of the answer that is being read: cut from this one */
    size_t used;
};

static struct block *block_new(size_t cap, size_t needs)
{
    cap = cap < needs ? needs : cap;
    struct block *b = xmalloc(sizeof(*b) + cap);
    b->next = NULL;
    b->cap = cap;
    return b;
}

static void *cut(struct maker *m, size_t bytes)
{
    bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (m->last->cap - m->used < bytes) {
        size_t cap = m->last->cap * 4 < BLOCK_MAX ? m->last->cap * 4 : BLOCK_MAX;
        m->last->next = block_new(cap, bytes);
        m->last = m->last->next;
        m->used = 0;
    }
    void *p = m->last->bytes + m->used;
    m->used += bytes;
    return p;
}

static redisReply *cut_reply(const redisReadTask *task, int type)
{
    struct maker *m = task->privdata;
    if (task->parent == NULL) {
        m->last = block_new(BLOCK_FIRST, 0);
        m->used = 0;
    }
    redisReply *r = cut(m, sizeof(*r));
    *r = (redisReply){.type = type};
    if (task->parent != NULL) {
        redisReply *parent = task->parent->obj;
        parent->element[task->idx] = r;
    }
    return r;
}

static void *make_string(const redisReadTask *task, char *str, size_t len)
{
    redisReply *r = cut_reply(task, task->type);
    r->str = cut(task->privdata, len + 1);
    r->len = len;
    memcpy(r->str, str, len);
    r->str[len] = '\0';
    return r;
}

static void *make_array(const redisReadTask *task, int elements)
{
    if (elements > ARRAY_MAX) {
        return NULL; /* the reader then fails */
    }
    redisReply *r = cut_reply(task, REDIS_REPLY_ARRAY);
    r->elements = elements > 0 ? (size_t)elements : 0;
    r->element = cut(task->privdata, r->elements * sizeof(*r->element));
    memset(r->element, 0, r->elements * sizeof(*r->element));
    return r;
}

static void *make_integer(const redisReadTask *task, long long value)
{
    redisReply *r = cut_reply(task, REDIS_REPLY_INTEGER);
    r->integer = value;
    return r;
}

static void *make_nil(const redisReadTask *task)
{
    return cut_reply(task, REDIS_REPLY_NIL);
}

void redis_reply_free(struct redisReply *root)
{
    struct block *b = root == NULL ? NULL : CONTAINER_OF(root, struct block, bytes);
    while (b != NULL) {
        struct block *next = b->next;
        free(b);
        b = next;
    }
}

static void free_object(void *root)
{
    redis_reply_free(root);
}

struct redisReader *redis_reader_new(void)
{
    redisReader *reader = redisReaderCreate();
    REQUIRE(reader != NULL);
    struct maker *m = NEW(struct maker);
    m->fn = (redisReplyObjectFunctions){.createString = make_string,
                                        .createArray = make_array,
                                        .createInteger = make_integer,
                                        .createNil = make_nil,
                                        .freeObject = free_object};
    reader->fn = &m->fn;
    reader->privdata = m;
    reader->maxbuf = READER_KEEP;
    return reader;
}

void redis_reader_free(struct redisReader *reader)
{
    if (reader != NULL) {
        struct maker *m = reader->privdata;
        redisReaderFree(reader);
        free(m);
    }
}
