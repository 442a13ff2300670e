// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * FileSource: every complete file of a folder becomes an event for the sink; then it is moved into
 * `done` or `failed` inside the folder, or stays and is written down in Redis
 * (lull:{source/file/NS/NAME}:t:UID:taken, name → what tells its version), so that it is sent once.
 * On one machine only. Owns: an inotify descriptor, jobs on the pool, what is being delivered.
 */

#include "broker/model.h"
#include "broker/push.h"
#include "broker/source_object.h"

struct file_source;

/* In the forms that broker/sources.c wants; one: what file_source_new has made. */
void *file_source_new(struct worker *w, const char *ns, const char *name);
/* value: a struct file_object, taken over. */
void file_source_use(void *one, const char *uid, void *value);
/* It was deleted: what is written down goes, the files stay. */
void file_source_drop(void *one);
void file_source_free(void *one);
void file_source_tick(void *one, uint64_t now_ms, size_t crowd);
/* For /state; the caller's. */
json_t *file_source_state(const void *one);
