// SPDX-License-Identifier: Apache-2.0
//
// lull-replica: the small process that owns one replica on one machine.
//
// It starts the function and its queue-proxy, restarts them with back-off, keeps their output in
// bounded files, and tells whoever connects to its control socket what state the replica is in. It
// lives on when the node agent dies, so that an agent restart disturbs no function, and it ends
// everything at once when the lifeline closes. No loop library, no JSON reader, no allocation after
// start-up: every replica pays for one of these.
//
// Specification: a file of NUL-terminated `key=value` records (see spec_row in replica.c), written
// by the agent.
//
// Control socket (unix stream, listening on descriptor 3 at start, so that the agent can connect at
// once), lines:
//   replica -> agent  one JSON object on connect and after every change:
//                     {"phase","ready","pid","proxyPid","restarts","startedAt","readyAt","code","signal","message"}
//   agent -> replica  "stop GRACE_MS", "kill"
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define REPLICA_CTL_FD      3
#define REPLICA_MAX_ARGS    512
#define REPLICA_MAX_SPEC    (1u << 20)
#define REPLICA_MAX_CLIENTS 4
#define REPLICA_MESSAGE_MAX 240
#define REPLICA_MAX_MOUNTS  64
#define REPLICA_PATH_MAX    4096

// A volume, or the part `sub` of it, at a path of the function's own view of the file system.
struct replica_mount {
    const char *from; // a folder
    const char *sub;  // relative; NULL: all of it
    const char *at;   // absolute
    bool writable;
};

// What the agent asked for. All strings borrow from the specification's text, which lives as long
// as the process.
struct replica_spec {
    const char *notify_path; // readiness socket given to the queue-proxy
    const char *log_path;    // the function's output
    const char *proxy_log_path;
    const char *cwd;
    char *proxy;            // path of lull-queue-proxy
    uint64_t log_max_bytes; // per file; two are kept
    uint64_t memory_bytes;  // limit of private writable memory; 0 = none
    uint64_t backoff_ms;    // first restart delay; doubles to backoff_max_ms
    uint64_t backoff_max_ms;
    uint64_t term_ms; // SIGTERM -> SIGKILL for the function once its queue-proxy is gone
    uid_t uid;        // 0 = keep
    gid_t gid;
    char *argv[REPLICA_MAX_ARGS + 1];
    char *envp[REPLICA_MAX_ARGS + 1];
    char *proxy_envp[REPLICA_MAX_ARGS + 1];
    size_t argc, envc, proxy_envc;
    const char *mount_root; // an empty folder; there when there are mounts
    struct replica_mount mounts[REPLICA_MAX_MOUNTS];
    size_t mountc;
};

// Fills `spec` from `len` bytes at `text` (modified, kept). Returns NULL, or what is wrong.
const char *replica_spec_parse(struct replica_spec *spec, char *text, size_t len);
// Whether the queue-proxy is to let only so many requests at once into the function.
bool replica_spec_limited(const struct replica_spec *spec);

// "2006-01-02T15:04:05.000000000Z stdout ", before F or P, a space and a line's bytes.
#define REPLICA_STAMP_LEN 38

// A bounded output file: `path`, and `path.1` when it was full; those of the run before this one
// are `path.previous` and `path.previous.1`.
struct replica_log {
    const char *path;
    uint64_t max_bytes;
    uint64_t size_bytes;
    uint64_t dropped_bytes; // could not be written (full disk)
    int fd;
    char last_line[REPLICA_MESSAGE_MAX]; // the newest line that is not empty, cut
    size_t pending;                      // bytes of the unfinished line in `partial`
    char partial[REPLICA_MESSAGE_MAX];
};

/* What stands there already is of a run before. */
int replica_log_open(struct replica_log *log, const char *path, uint64_t max_bytes);
void replica_log_write(struct replica_log *log, const char *data, size_t len);
/* What is there to read on a descriptor that does not block: so many reads of it. */
void replica_log_copy(struct replica_log *log, int fd, int reads);
#define REPLICA_LOG_REST 16 // reads that take what a program wrote last
/* For last_line: the unfinished line counts as one, at a program's end. */
void replica_log_end_line(struct replica_log *log);
/* Another run of the program begins; nothing but last_line before the first open. */
void replica_log_next_run(struct replica_log *log);

// Starting one program, in two halves, so that two programs can be started side by side.
struct replica_start {
    pid_t pid;
    int failed_fd;                  // the exec's error comes here, or end of file
    int code;                       // errno of what failed before
    char what[REPLICA_MESSAGE_MAX]; // after replica_start_end: the sentence, or "": see errno
};

// `out_fd` becomes its stdout and stderr; it gets its own session, the identity and limits of
// `spec` (`as_function`), and dies with us. An end must follow.
void replica_start_begin(struct replica_start *start, const struct replica_spec *spec,
                         char *const argv[], char **envp, int out_fd, bool as_function);
// Waits until the program runs. Its pid, or -1 with errno when it could not be executed.
pid_t replica_start_end(struct replica_start *start);

// In a child that becomes a function: a mount namespace with the volumes at their paths. 0, or -1
// with errno and a sentence.
int replica_mounts_make(const struct replica_spec *spec, char *what, size_t what_size);

// Kills every descendant of this process but `spare` (0 = none), waiting for none of them.
void replica_kill_tree(pid_t spare);
