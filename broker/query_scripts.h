// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * The scripts behind the questions of people (query.h), beside those of the broker's own work
 * (streams.h). Each is atomic and bounded: in entries, and in bytes looked at. Keys as in
 * streams.h.
 *
 * NUMBERS  KEYS events, (trigger, retry, dead)…: {{length, first id, not dispatched}, {length,
 *          first id, retries, next due ms or "", dead}…}
 * LIST     KEYS stream; ARGV from ("$": nothing, but where the end is), to, most, bytes of data to
 *          show, position (-1: not known), most behind: {length, whether there is more, {id, e, x,
 *          t, bytes of data (-1: none), data or "", n}…, entries ever added, passed over, last id}.
 *          With a position: who is further behind than `most behind` goes on with the newest.
 * AGAIN    KEYS dead, events; ARGV uid, from, to ("": the newest), most, events that fit: dead
 *          ones into the broker's stream, for this trigger only (t), but those that cannot be tried
 *          again: {moved, more, to, full, passed over}
 * DROP     KEYS dead; ARGV from, to, most: {dropped, more, to}
 * REPLAY   KEYS events, trigger, held; ARGV id…: references to those that the trigger does not have
 *          already: {written, has already, gone}
 * BOUND    KEYS events: {length, first id, last id of which everything is dispatched, or ""}
 */
extern const char query_script_numbers[];
extern const char query_script_list[];
extern const char query_script_again[];
extern const char query_script_drop[];
extern const char query_script_replay[];
extern const char query_script_bound[];
