// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * FileSource: every complete file of a folder becomes an event for the sink; then it is moved into
 * `done` or `failed` inside the folder, or stays and is written down in Redis
 * (lull:{source/file/NS/NAME}:taken, name → what tells its version), so that it is sent once. On
 * one machine only. Owns: an inotify descriptor, jobs on the pool, what is being delivered.
 */

#include "broker/model.h"
#include "broker/push.h"
#include "broker/source_object.h"

struct file_source;

struct file_source *file_source_new(struct worker *w, const char *ns, const char *name);
/* object is taken over. */
void file_source_use(struct file_source *f, const char *uid, struct file_object *object);
/* It was deleted: what is written down goes, the files stay. */
void file_source_drop(struct file_source *f);
void file_source_free(struct file_source *f);
void file_source_tick(struct file_source *f, uint64_t now_ms, size_t crowd);
/* For /state; the caller's. */
json_t *file_source_state(const struct file_source *f);
