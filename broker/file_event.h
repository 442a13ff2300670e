// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * A file as an event: with its bytes as data, or by reference (attribute dataref, a file: URI).
 * Its id is made of what tells it from another version of it, so that it stays when it is sent
 * again. Pure.
 */

#include "broker/folder.h"
#include "broker/source_object.h"

#define FILE_TYPE "dev.lull.file"

/* Whether only its place is sent. */
bool file_by_reference(const struct file_object *source, const struct folder_file *file);

#define FILE_STAMP_MAX 80
/* What tells this version of the file from others. Returns buf. */
char *file_stamp(const struct folder_file *file, char buf[static FILE_STAMP_MAX]);

/* data NULL: by reference; else it is taken over. out owns all; event_fini it, also after an error.
 */
MUST_CHECK int file_event(const struct file_object *source, const struct folder_file *file,
                          struct strbuf *data, struct event *out, struct error *err);
