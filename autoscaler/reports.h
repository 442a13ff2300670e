// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Who reports, and whether reports are complete. Every activator sends one report a second, in
 * parts; a revision that is absent from a whole report has no traffic there; a report that is
 * missing is no data. Pure: time and bytes come in; owns the table of activators.
 *
 * An activator is expected from its HELLO until REPORTS_FORGET_MS after its link was lost. All is
 * fresh while each expected one has sent a whole report within REPORTS_STALE_MS, and there is one;
 * it is current while that was within REPORTS_LATE_MS. A report that comes late covers the seconds
 * since the one before it; after a longer hole, counting starts anew. So it does when an activator
 * that has served for longer than we know it reports for the first time: what it saw before is not
 * in any window.
 *
 * Time is CLOCK_MONOTONIC, which stands still while a machine sleeps: then there is no hole. Where
 * it runs on, or only a process stood still, nobody reported in between: there is one.
 */

#include "base/error.h"
#include "base/map.h"
#include "base/slice.h"

#define REPORTS_LATE_MS        1500u
#define REPORTS_STALE_MS       3000u
#define REPORTS_FORGET_MS      10000u
#define REPORTS_NAME_MAX       63
#define REPORTS_ACTIVATORS_MAX 256

struct reporter {
    char name[REPORTS_NAME_MAX + 1];
    bool connected;
    void *link;        /* the owner's: the link that speaks for it now; NULL when not connected */
    uint64_t hello_ms; /* since when it is expected */
    uint64_t gone_ms;  /* when the link was lost */
    uint64_t last_ms;  /* private: last whole report, 0: none yet */
    uint64_t at_ms;    /* in the second that its present report is of: now, or a moment later */
    unsigned missed;   /* seconds before that one which the report covers as well */
    bool passed;       /* private: … of a second long past: its numbers do not count */
    uint64_t seq;      /* private: of the report that is being read */
    uint16_t part;     /* private: next part of it */
    uint16_t parts;    /* private */
};

struct reports {
    struct map reporters;   /* private: name -> struct reporter, owned */
    bool fresh;             /* all expected reports are coming in */
    bool current;           /* … and none is late: something may be scaled down */
    uint64_t since_ms;      /* since when, without a hole */
    uint64_t last_ms;       /* last whole report of anyone; 0: never */
    uint64_t told_ms;       /* until when all expected ones have told; last_ms when one is late */
    uint64_t path_since_ms; /* since when activators are in the path; 0: always were */
    uint64_t checked_ms;    /* private: last look at the clock */
    bool path_lost;         /* private: no activator was connected for a while */
    uint64_t duplicates;    /* reports or parts that came twice or too late */
};

void reports_init(struct reports *r);
void reports_fini(struct reports *r);

/*
 * An activator says who it is. The same name again replaces the former one: *out_replaced is the
 * link that spoke for it, or NULL; the owner closes it. ERR_OVERLOAD: too many activators.
 * ERR_INVALID: no name, or one too long.
 */
MUST_CHECK int reports_hello(struct reports *r, struct slice name, void *link, uint64_t now_ms,
                             struct reporter **out, void **out_replaced, struct error *err);
/* The link is gone. Does nothing when another link speaks for the name by now. */
void reports_gone(struct reports *r, struct reporter *reporter, const void *link, uint64_t now_ms);

/*
 * One STATS frame's payload. 1: *out_stats is to be read, then reports_end_part is due.
 * 0: it came before and is dropped. ERR_PROTOCOL: parts out of order; close the link.
 */
MUST_CHECK int reports_begin_part(struct reports *r, struct reporter *reporter,
                                  struct slice payload, uint64_t now_ms, struct slice *out_stats,
                                  struct error *err);
/* The part was read. Returns true when that completed a report; fresh and current are then renewed.
 */
bool reports_end_part(struct reports *r, struct reporter *reporter, uint64_t now_ms);

/* Looks at the clock: renews fresh, since_ms, told_ms, and forgets who is gone for long. Due before
 * a decision. */
void reports_check(struct reports *r, uint64_t now_ms);
/* What was reported until now is lost: completeness counts from now on. */
void reports_restart(struct reports *r, uint64_t now_ms);
size_t reports_connected(const struct reports *r);
