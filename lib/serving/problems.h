// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * What is wrong with an object: a bounded list of problems, each a message, the paths that it is
 * about, details and a level. Rules add problems with paths relative to what they look at; their
 * callers put the way there before them. Printed as Knative's FieldError is: problems with the same
 * message and details become one, paths and problems are sorted.
 * Owns: its texts. May not: judge.
 *
 *     size_t mark = problems_mark(p);
 *     check_port(p, port);                      adds "containerPort"
 *     problems_via_index(p, mark, i);           "[0].containerPort"
 *     problems_via(p, mark, "ports");           "ports[0].containerPort"
 */

#include "base/slice.h"
#include "base/strbuf.h"

/* Beyond these a problem is only counted, a text is cut. */
#define PROBLEMS_MAX         1000
#define PROBLEM_TEXT_MAX     16384
#define PROBLEMS_PRINTED_MAX (1u << 20)

enum problem_level { PROBLEM_ERROR, PROBLEM_WARNING };

struct problem {
    char *message;
    char *details; /* "" for none */
    char **paths;
    size_t n_paths;
    enum problem_level level;
};

struct problems {
    struct problem *list;
    size_t len;
    size_t cap;
    size_t dropped; /* that found no place */
};

void problems_init(struct problems *p);
void problems_fini(struct problems *p);
/* Where the next problem will stand. */
size_t problems_mark(const struct problems *p);
/* Forgets all from mark on. */
void problems_drop(struct problems *p, size_t mark);
/* path NULL: none; "": what is being looked at. */
void problem_add(struct problems *p, const char *path, const char *fmt, ...) PRINTF_LIKE(3, 4);
/* These change the problem added last; nothing when it found no place. */
void problem_path(struct problems *p, const char *path);
void problem_details(struct problems *p, const char *fmt, ...) PRINTF_LIKE(2, 3);
void problem_warns(struct problems *p);

/* Puts "field.", "[index]" or "[key]" before the paths of all from mark on. */
void problems_via(struct problems *p, size_t mark, const char *field);
void problems_via_index(struct problems *p, size_t mark, size_t index);
void problems_via_key(struct problems *p, size_t mark, const char *key);

/* Appends the problems of a level, a line or more each; returns how many there are. */
size_t problems_print(const struct problems *p, enum problem_level level, struct strbuf *out);

/* The common ones, in Knative's words. */
void problem_missing(struct problems *p, const char *field);
void problem_disallowed(struct problems *p, const char *field);
void problem_invalid(struct problems *p, const char *field, struct slice value);
void problem_bounds(struct problems *p, const char *field, int64_t value, int64_t min, int64_t max);
