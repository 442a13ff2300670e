// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What a FileSource knows of the names in its folder: since when a file rests, which version of it
 * is done with, and which files are complete and wait for their turn. Owns: the names. Pure: who
 * looks says what is there and what time it is.
 */

#include "base/list.h"
#include "base/map.h"
#include "broker/file_event.h"

struct file_name {
    char *name;
    struct folder_file file;    /* as of the last look; name not owned */
    uint64_t since_ms;          /* unchanged */
    uint64_t again_ms;          /* not before */
    char taken[FILE_STAMP_MAX]; /* this version is done with; "": none */
    bool here;                  /* of the last look */
    bool busy;                  /* it is being sent; its owner's */
    struct list ready;          /* private */
};

struct file_names {
    struct map all;    /* name → struct file_name */
    struct list ready; /* private */
};

void file_names_init(struct file_names *n);
/* Nothing is known any more. */
void file_names_clear(struct file_names *n);
void file_names_fini(struct file_names *n);

/* NULL: it is not known. */
struct file_name *file_names_get(const struct file_names *n, const char *name);
/* This version is done with, as was written down. */
void file_names_note(struct file_names *n, const char *name, struct slice stamp);

/* A look: begin, each file that is there, end. */
void file_names_look_begin(struct file_names *n);
/* Ms until it should be looked at again; 0: nothing is waited for. */
uint64_t file_names_look(struct file_names *n, const struct folder_file *file, uint64_t settle_ms,
                         uint64_t now_ms, int64_t wall_ns);
/* What is not there any more is forgotten; a note of it that goes is told to on_note_gone. */
void file_names_look_end(struct file_names *n, void (*on_note_gone)(void *arg, const char *name),
                         void *arg);

/* The next one that is complete; NULL: none. It is not ready any more then. */
struct file_name *file_names_next(struct file_names *n);
