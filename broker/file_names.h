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
    uint64_t gone_ms;           /* private: it is not there since; 0: it is */
    bool here;                  /* of the last look */
    bool busy;                  /* it is being sent; its owner's */
    struct list ready;          /* private */
};

/* Which folder was looked into: something else may be mounted there another time. */
struct file_place {
    uint64_t device, inode;
};

struct file_names {
    struct map all;          /* name → struct file_name */
    struct list ready;       /* private */
    struct file_place place; /* private: of the last look */
    struct file_place home;  /* private: the folder that the notes are of; 0, 0: not known yet */
};

#define FILE_NOTES_MAX    20000
#define FILE_NOTE_GONE_MS 600000 /* a note is kept for so long when its file is gone */

void file_names_init(struct file_names *n);
/* Nothing is known any more. */
void file_names_clear(struct file_names *n);
void file_names_fini(struct file_names *n);

/* NULL: it is not known. */
struct file_name *file_names_get(const struct file_names *n, const char *name);
/* This version is done with, as was written down earlier. */
void file_names_note(struct file_names *n, const char *name, struct slice stamp);

/* … has been written down just now. */
void file_names_noted(struct file_names *n, struct file_name *name, const char *stamp);

/* A look: begin, each file that is there, end. */
void file_names_look_begin(struct file_names *n, struct file_place place);
/* Ms until it should be looked at again; 0: nothing is waited for. */
uint64_t file_names_look(struct file_names *n, const struct folder_file *file, uint64_t settle_ms,
                         uint64_t now_ms, int64_t wall_ns);
/*
 * What is not there any more is forgotten; its note a while later, and only when this is the folder
 * that it is of: one that is empty because nothing is mounted there today is full tomorrow. Beyond
 * FILE_NOTES_MAX names notes go at once. A note that goes is told to on_note_gone. whole: all that
 * is there was told of, else what is not here may be there all the same.
 */
void file_names_look_end(struct file_names *n, bool whole, uint64_t now_ms,
                         void (*on_note_gone)(void *arg, const char *name), void *arg);

/* How many are complete and wait. */
size_t file_names_waiting(const struct file_names *n);
/* The next one that is complete; NULL: none. It is not ready any more then. */
struct file_name *file_names_next(struct file_names *n);
