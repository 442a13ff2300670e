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

/* hiredis' own functions, taken from a reader that it made, but for arrays. */
static void *bounded_array(const redisReadTask *task, int elements)
{
    if (elements > ARRAY_MAX) {
        return NULL; /* the reader then fails */
    }
    redisReply *r = calloc(1, sizeof(*r));
    if (r == NULL) {
        return NULL;
    }
    r->type = REDIS_REPLY_ARRAY;
    if (elements > 0) {
        r->element = calloc((size_t)elements, sizeof(*r->element));
        if (r->element == NULL) {
            free(r);
            return NULL;
        }
    }
    r->elements = elements > 0 ? (size_t)elements : 0;
    if (task->parent != NULL) {
        redisReply *parent = task->parent->obj;
        parent->element[task->idx] = r;
    }
    return r;
}

struct redisReader *redis_reader_new(void)
{
    redisReader *reader = redisReaderCreate();
    REQUIRE(reader != NULL);
    redisReplyObjectFunctions *fn = NEW(redisReplyObjectFunctions);
    *fn = *reader->fn;
    fn->createArray = bounded_array;
    reader->fn = fn;
    return reader;
}

void redis_reader_free(struct redisReader *reader)
{
    if (reader != NULL) {
        redisReplyObjectFunctions *fn = reader->fn;
        redisReaderFree(reader);
        free(fn);
    }
}
