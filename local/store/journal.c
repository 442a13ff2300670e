// SPDX-License-Identifier: Apache-2.0

/*
 * Plan: a write goes to the writer's thread, which puts all that waits into one transaction. A
 * machine's write with none of the others before it goes into the redo log instead; it is `written`
 * on the next turn, and the database gets a copy of it within FLUSH_MS, or in front of the next
 * write that goes the long way. When the database has all of them, the redo log is cleared.
 * Failures: a full disk or an I/O error fails the batch and all behind it (see the header). No redo
 * log (it could not be made, or is full): every write goes the long way.
 */

#include "local/store/journal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "loop/timer.h"
#include "local/store/redo.h"

#define REDO_BYTES ((size_t)4 << 20)
#define EARLY_MAX  8192 /* records in the redo log */
#define FLUSH_MS   20
#define RETRY_MS   1000

struct journal {
    struct loop *loop;
    struct database *db; /* NULL: nothing is kept */
    struct redo *redo;   /* NULL: none */
    uint64_t version;    /* the newest that is written */
    atomic_bool broken;
    struct worker writer;
    struct worker syncer;
    size_t late;        /* with the writer, not written */
    struct list acks;   /* struct journal_write by job.link: `written` is due */
    struct list early;  /* struct journal_write by job.link, ours: only in the redo log */
    size_t early_count; /* of these and those with the writer */
    struct loop_task ack_task;
    struct timer flush_timer;
    struct worker_job checkpoint;
    bool checkpointing; /* the job above is under way */
    void (*close_cb)(void *arg);
    void *close_arg;
};

/* --- the threads --------------------------------------------------------------------------- */

static void give_outcome(struct list *batch, int code, const struct error *err)
{
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        job->status = code;
        if (code < 0) {
            error_copy(&job->err, err);
        }
    }
}

static int write_all(struct database *db, struct list *batch)
{
    int rc = database_begin(db);
    list_foreach (node, batch) {
        struct journal_write *w = LIST_ENTRY(node, struct journal_write, job.link);
        if (rc == 0 && w->op == JOURNAL_PUT) {
            rc = database_put(db, &w->row);
        } else if (rc == 0 && w->op == JOURNAL_DELETE) {
            rc = database_remove(db, w->row.row, w->row.version);
        }
    }
    return rc == 0 ? database_commit(db) : rc;
}

static void write_batch(struct worker *worker, struct list *batch, size_t count)
{
    struct journal *j = worker->data;
    bool any = false;
    list_foreach (node, batch) {
        any = any || LIST_ENTRY(node, struct journal_write, job.link)->op != JOURNAL_NOTHING;
    }
    struct error err = {0};
    int code = 0;
    if (atomic_load(&j->broken)) {
        code = error_set(&err, ERR_UNAVAILABLE, "a write before this one failed; try again");
    } else if (any && j->db != NULL) {
        int rc = write_all(j->db, batch);
        if (rc != 0) {
            code = database_fail(j->db, rc, &err);
            atomic_store(&j->broken, true);
        }
    }
    give_outcome(batch, code, &err);
}

static void sync_batch(struct worker *worker, struct list *batch, size_t count)
{
    struct journal *j = worker->data;
    struct error err = {0};
    int code = 0;
    bool sync = false, checkpoint = false;
    list_foreach (node, batch) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        checkpoint = checkpoint || job == &j->checkpoint;
        sync = sync || job != &j->checkpoint;
    }
    if (sync && j->db != NULL) {
        code = database_sync(j->db, &err);
    }
    if (checkpoint) {
        database_checkpoint(j->db);
    }
    give_outcome(batch, code, &err);
}

/* --- open ---------------------------------------------------------------------------------- */

struct replay {
    struct database *db;
    int code; /* SQLite's */
};

static int replay_record(const struct redo_record *record, void *arg, struct error *err)
{
    struct replay *replay = arg;
    struct database_row row = {.row = record->row,
                               .version = record->version,
                               .resource = record->resource,
                               .ns = record->ns,
                               .name = record->name,
                               .body = record->body};
    replay->code = record->remove ? database_remove(replay->db, row.row, row.version)
                                  : database_put(replay->db, &row);
    return replay->code == 0 ? 0 : ERR_UNAVAILABLE;
}

/* What a process before this one had written early and not brought into the database. */
static int replay_redo(struct journal *j, struct error *err)
{
    struct replay replay = {.db = j->db};
    uint64_t before = j->version;
    replay.code = database_begin(j->db);
    int rc = j->version == 0 ? 0 : redo_replay(j->redo, &j->version, replay_record, &replay, err);
    if (rc == 0 && replay.code == 0) {
        replay.code = database_commit(j->db);
    }
    if (replay.code != 0) {
        return database_fail(j->db, replay.code, err);
    }
    if (j->version > before) {
        LOG_INFO("brought the redo log into the database", LOG_UINT("from", before),
                 LOG_UINT("to", j->version));
    }
    redo_clear(j->redo);
    return 0;
}

static int open_files(struct journal *j, const char *path, struct error *err)
{
    int rc = database_open(&j->db, path, err);
    if (rc == 0) {
        rc = database_version(j->db, &j->version, err);
    }
    if (rc < 0) {
        return rc;
    }
    CLEANUP(cleanup_free) char *redo = xasprintf("%s-redo", path);
    struct error problem;
    if (redo_open(&j->redo, redo, REDO_BYTES, &problem) < 0) {
        LOG_WARN("no redo log: machines' writes wait for the database", LOG_ERR(&problem));
        return 0;
    }
    return replay_redo(j, err);
}

static void free_journal(struct journal *j)
{
    redo_close(j->redo);
    database_close(j->db);
    free(j);
}

static void on_ack_task(struct loop_task *task);
static void on_flush_timer(struct timer *timer);

static void start(struct journal *j, size_t pending_max)
{
    struct error err;
    /* A thread that cannot be started at start-up leaves nothing to go on with. */
    int rc = worker_start(&j->writer, j->loop, "store-writer", write_batch, j,
                          pending_max + EARLY_MAX, 256, &err);
    REQUIRE(rc == 0);
    rc = worker_start(&j->syncer, j->loop, "store-syncer", sync_batch, j, pending_max + 1, 0, &err);
    REQUIRE(rc == 0);
    loop_task_init(&j->ack_task, on_ack_task, j);
    timer_init(&j->flush_timer, j->loop, on_flush_timer, j);
}

int journal_open(struct journal **out, struct loop *loop, const char *path, size_t pending_max,
                 database_row_cb load, void *arg, uint64_t *out_version, struct error *err)
{
    struct journal *j = NEW(struct journal);
    j->loop = loop;
    list_init(&j->acks);
    list_init(&j->early);
    if (path != NULL) {
        int rc = open_files(j, path, err);
        if (rc == 0) {
            rc = database_load(j->db, load, arg, err);
        }
        if (rc < 0) {
            free_journal(j);
            return rc;
        }
    }
    start(j, pending_max);
    *out_version = j->version;
    *out = j;
    return 0;
}

/* --- written early ------------------------------------------------------------------------- */

static void run_acks(struct journal *j)
{
    struct list due;
    list_init(&due);
    list_splice_back(&due, &j->acks);
    struct list *node;
    while ((node = list_pop_front(&due)) != NULL) {
        struct journal_write *w = LIST_ENTRY(node, struct journal_write, job.link);
        w->written(w);
    }
}

static void on_ack_task(struct loop_task *task)
{
    run_acks(task->data);
}

static void ack(struct journal *j, struct journal_write *w)
{
    w->job = (struct worker_job){.data = j};
    list_init(&w->job.link);
    list_push_back(&j->acks, &w->job.link);
    loop_task_post(j->loop, &j->ack_task);
}

static void after_job(struct journal *j);

static void on_early_stored(struct worker_job *job)
{
    struct journal_write *copy = CONTAINER_OF(job, struct journal_write, job);
    struct journal *j = job->data;
    if (job->status < 0) { /* owed: in front of what came later, which is not with the writer */
        struct list *at = list_first(&j->early);
        while (at != NULL && at != &j->early &&
               LIST_ENTRY(at, struct journal_write, job.link)->row.version < copy->row.version) {
            at = at->next;
        }
        list_init(&job->link);
        list_insert_before(at == NULL ? &j->early : at, &job->link);
    } else {
        free(copy);
        if (--j->early_count == 0) {
            redo_clear(j->redo);
        }
    }
    after_job(j);
}

/* Brings into the database what is only in the redo log. */
static void flush(struct journal *j)
{
    struct list *node;
    timer_stop(&j->flush_timer);
    while ((node = list_pop_front(&j->early)) != NULL) {
        struct worker_job *job = LIST_ENTRY(node, struct worker_job, link);
        struct error err;
        int rc = worker_submit(&j->writer, job, on_early_stored, j, &err);
        REQUIRE(rc == 0); /* its queue has room for EARLY_MAX beside all others */
    }
}

static void on_flush_timer(struct timer *timer)
{
    flush(timer->data);
}

/* Into the redo log. False: it must go the long way. */
static bool write_early(struct journal *j, struct journal_write *w)
{
    if (!w->machine || j->redo == NULL || j->late > 0 || atomic_load(&j->broken) ||
        j->early_count >= EARLY_MAX) {
        return false;
    }
    struct redo_record kept, record = {.version = w->row.version,
                                       .follows = j->version,
                                       .row = w->row.row,
                                       .remove = w->op == JOURNAL_DELETE,
                                       .resource = w->row.resource,
                                       .ns = w->row.ns,
                                       .name = w->row.name,
                                       .body = w->row.body};
    if (!redo_append(j->redo, &record, &kept)) {
        return false;
    }
    struct journal_write *copy = NEW(struct journal_write);
    copy->op = w->op;
    copy->row = w->row;
    copy->row.resource = kept.resource;
    copy->row.ns = kept.ns;
    copy->row.name = kept.name;
    copy->row.body = kept.body;
    list_init(&copy->job.link);
    list_push_back(&j->early, &copy->job.link);
    j->early_count++;
    j->version = w->row.version;
    if (redo_used(j->redo) > redo_size(j->redo) / 4) {
        flush(j);
    } else if (!timer_active(&j->flush_timer)) {
        timer_start(&j->flush_timer, FLUSH_MS);
    }
    return true;
}

/* --- writes -------------------------------------------------------------------------------- */

static void on_checkpoint_done(struct worker_job *job)
{
    struct journal *j = job->data;
    j->checkpointing = false;
}

static void after_job(struct journal *j)
{
    if (!j->checkpointing && j->db != NULL && database_has_grown(j->db)) {
        j->checkpointing =
            worker_submit(&j->syncer, &j->checkpoint, on_checkpoint_done, j, NULL) == 0;
    }
    if (atomic_load(&j->broken) && worker_waiting(&j->writer) == 0) {
        atomic_store(&j->broken, false);
        if (!list_empty(&j->early) && j->close_cb == NULL) {
            LOG_WARN("a write to the database failed; machines' writes are only in the redo log",
                     LOG_UINT("writes", j->early_count));
            timer_start(&j->flush_timer, RETRY_MS);
        }
    }
}

static void on_written(struct worker_job *job)
{
    struct journal_write *w = CONTAINER_OF(job, struct journal_write, job);
    struct journal *j = job->data;
    run_acks(j); /* those came before it */
    j->late--;
    if (job->status == 0 && w->op != JOURNAL_NOTHING) {
        j->version = w->row.version;
    }
    w->written(w);
    after_job(j);
}

int journal_write(struct journal *j, struct journal_write *w, journal_cb written, struct error *err)
{
    w->written = written;
    if ((w->op == JOURNAL_NOTHING && j->late == 0) ||
        (w->op != JOURNAL_NOTHING && write_early(j, w))) {
        ack(j, w);
        return 0;
    }
    flush(j); /* what is older goes first */
    int rc = worker_submit(&j->writer, &w->job, on_written, j, err);
    j->late += rc == 0;
    return rc;
}

static void on_synced(struct worker_job *job)
{
    struct journal_write *w = CONTAINER_OF(job, struct journal_write, job);
    w->synced(w);
}

int journal_sync(struct journal *j, struct journal_write *w, journal_cb synced, struct error *err)
{
    w->synced = synced;
    return worker_submit(&j->syncer, &w->job, on_synced, j, err);
}

bool journal_is_broken(const struct journal *j)
{
    return atomic_load(&j->broken);
}

/* --- close --------------------------------------------------------------------------------- */

static void on_all_closed(struct timer *timer)
{
    struct journal *j = timer->data;
    void (*cb)(void *) = j->close_cb;
    void *arg = j->close_arg;
    struct list *node;
    while ((node = list_pop_front(&j->early)) != NULL) { /* owed: the redo log has it */
        free(LIST_ENTRY(node, struct journal_write, job.link));
    }
    free_journal(j);
    cb(arg);
}

static void on_syncer_closed(struct worker *worker)
{
    struct journal *j = worker->data;
    timer_close(&j->flush_timer, on_all_closed);
}

static void on_writer_closed(struct worker *worker)
{
    struct journal *j = worker->data;
    run_acks(j);
    loop_task_cancel(&j->ack_task);
    worker_close(&j->syncer, on_syncer_closed);
}

void journal_close(struct journal *j, void (*cb)(void *arg), void *arg)
{
    flush(j);
    j->close_cb = cb;
    j->close_arg = arg;
    worker_close(&j->writer, on_writer_closed);
}
