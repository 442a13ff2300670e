// SPDX-License-Identifier: Apache-2.0
/*
 * Plan. A line at a time from a file into replay_line, what it decided out at once. Failure modes:
 * a line that is too long or cannot be used ends it, with its number.
 */
#include <errno.h>

#include "base/mem.h"
#include "autoscaler/replay.h"

/* Reads up to the next newline. 1: a line; 0: the end. */
static int next_line(FILE *in, char *buf, size_t size, struct slice *out, struct error *err)
{
    if (fgets(buf, (int)size, in) == NULL) {
        return ferror(in) ? error_set(err, ERR_IO, "cannot be read") : 0;
    }
    size_t len = strlen(buf);
    if (len + 1 == size && buf[len - 1] != '\n') {
        return error_set(err, ERR_TOO_BIG, "is longer than %u bytes", REPLAY_LINE_MAX);
    }
    *out = slice_of(buf, len);
    return 1;
}

int replay_run(FILE *in, FILE *out, struct error *err)
{
    struct replay r;
    struct strbuf decisions;
    struct slice line;
    char *buf = xcalloc(REPLAY_LINE_MAX + 2, 1);
    unsigned long number = 0;
    int rc;
    replay_init(&r);
    strbuf_init(&decisions, REPLAY_DECISION_MAX);
    do {
        number++;
        rc = next_line(in, buf, REPLAY_LINE_MAX + 2, &line, err);
        if (rc == 1) {
            int played = replay_line(&r, line, &decisions, err);
            rc = played < 0 ? played : rc;
        }
        if (decisions.len > 0 && fwrite(decisions.ptr, 1, decisions.len, out) != decisions.len) {
            rc = error_set(err, ERR_IO, "the decision cannot be written");
        }
        strbuf_clear(&decisions);
    } while (rc == 1);
    strbuf_fini(&decisions);
    replay_fini(&r);
    free(buf);
    if (rc == 0 && fflush(out) != 0) {
        rc = error_set(err, ERR_IO, "the decisions cannot be written");
    }
    return rc < 0 ? error_prefix(err, rc, "line %lu", number) : 0;
}

int replay_main(int argc, char *const *argv)
{
    struct error err = {0};
    if (argc != 2 || strcmp(argv[1], "--help") == 0) {
        bool asked = argc == 2;
        fputs("usage: lull-autoscaler replay FILE\n"
              "Prints a decision, a line of JSON, for each tick of a recording; - reads the\n"
              "standard input. docs/replay.md has the format.\n",
              asked ? stdout : stderr);
        return asked ? 0 : 2;
    }
    bool standard = strcmp(argv[1], "-") == 0;
    FILE *in = standard ? stdin : fopen(argv[1], "re");
    if (in == NULL) {
        error_from_errno(&err, errno, "cannot be read");
    }
    int rc = in == NULL ? (int)err.code : replay_run(in, stdout, &err);
    if (in != NULL && !standard) {
        fclose(in);
    }
    if (rc < 0) {
        fprintf(stderr, "lull-autoscaler: %s: %s\n", argv[1], err.msg);
        return 1;
    }
    return 0;
}
