// SPDX-License-Identifier: Apache-2.0
/* Jobs on libuv's pool. uv_cancel wins only before a thread has taken the job. */
#include "loop/work.h"

static void on_run(uv_work_t *uv)
{
    struct work *work = uv->data;
    work->run(work);
}

static void on_done(uv_work_t *uv, int status)
{
    struct work *work = uv->data;
    work->done(work, status == 0 ? 0 : ERR_CANCELED);
}

int work_start(struct work *work, struct loop *loop, work_run_cb run, work_done_cb done, void *data,
               struct error *err)
{
    *work = (struct work){.run = run, .done = done, .data = data};
    work->uv.data = work;
    int rc = uv_queue_work(&loop->uv, &work->uv, on_run, on_done);
    return rc < 0 ? error_from_uv(err, rc, "queue a job") : 0;
}

void work_cancel(struct work *work)
{
    uv_cancel((uv_req_t *)&work->uv);
}
