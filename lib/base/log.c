// SPDX-License-Identifier: Apache-2.0
/*
 * Log lines. Happy path: build the JSON line in a bounded buffer, one write(2).
 * Failure: a line that is too long loses its last fields and says "cut":true; a stderr that does
 * not take the line loses it (there is nobody left to tell).
 */
#include "base/log.h"

#include <unistd.h>

#include "base/clock.h"
#include "base/num.h"
#include "base/strbuf.h"

#define LINE_MAX_BYTES 8192
/* What the end of a cut line needs. */
#define LINE_TAIL 32

/* Set once in main, before the loop runs. */
static struct {
    enum log_level level;
    const char *component;
} log_state = {LOG_LEVEL_INFO, "lull"};

static const char *const level_names[] = {"debug", "info", "warn", "error", "off"};

void log_init(const char *component)
{
    log_state.component = component;
    const char *want = getenv("LULL_LOG");
    if (want == NULL || *want == '\0') {
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++) {
        if (strcasecmp(want, level_names[i]) == 0) {
            log_state.level = (enum log_level)i;
            return;
        }
    }
    LOG_WARN("LULL_LOG is not one of debug, info, warn, error, off: info is used",
             LOG_STR("value", want));
}

void log_set_level(enum log_level level)
{
    log_state.level = level;
}

bool log_enabled(enum log_level level)
{
    return level >= log_state.level;
}

static void put_field(struct strbuf *line, const struct log_field *f)
{
    char number[NUM_DOUBLE_MAX];
    strbuf_append_char(line, ',');
    strbuf_append_json(line, slice_str(f->key));
    strbuf_append_char(line, ':');
    switch (f->kind) {
    case LOG_KIND_STR:
        strbuf_append_json(line, f->v.s);
        break;
    case LOG_KIND_INT:
        strbuf_appendf(line, "%lld", (long long)f->v.i);
        break;
    case LOG_KIND_UINT:
        strbuf_appendf(line, "%llu", (unsigned long long)f->v.u);
        break;
    case LOG_KIND_DBL:
        num_format_double(f->v.d, number, sizeof(number));
        if (f->v.d - f->v.d == 0) {
            strbuf_append_str(line, number);
        } else {
            strbuf_append_json(line, slice_str(number)); /* inf and nan are no JSON numbers */
        }
        break;
    case LOG_KIND_BOOL:
        strbuf_append_str(line, f->v.b ? "true" : "false");
        break;
    case LOG_KIND_END:
        break;
    }
}

void log_write(enum log_level level, const char *msg, const struct log_field *fields)
{
    char time[CLOCK_RFC3339_MAX];
    CLEANUP(strbuf_fini) struct strbuf line;
    strbuf_init(&line, LINE_MAX_BYTES);
    clock_format_rfc3339(clock_wall_ns(), 6, time, sizeof(time));
    strbuf_appendf(&line, "{\"time\":\"%s\",\"level\":\"%s\",\"component\":\"%s\",\"msg\":", time,
                   level_names[level], log_state.component);
    strbuf_append_json(&line, slice_str(msg));
    line.max -= LINE_TAIL;
    for (; fields->kind != LOG_KIND_END && strbuf_ok(&line); fields++) {
        size_t before = line.len;
        put_field(&line, fields);
        if (!strbuf_ok(&line)) {
            strbuf_truncate(&line, before);
        }
    }
    line.max += LINE_TAIL;
    bool cut = !strbuf_ok(&line);
    line.failed = false;
    strbuf_append_str(&line, cut ? ",\"cut\":true}\n" : "}\n");
    ssize_t n = write(STDERR_FILENO, line.ptr, line.len);
    (void)n;
}

bool log_limit(struct log_limit *limit, uint64_t now_ms, uint64_t interval_ms,
               uint64_t *out_dropped)
{
    if (now_ms < limit->next_ms) {
        limit->dropped++;
        return false;
    }
    *out_dropped = limit->dropped;
    limit->dropped = 0;
    limit->next_ms = now_ms + interval_ms;
    return true;
}
