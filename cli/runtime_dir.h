// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Where the replicas' sockets live: `run/r` of the state directory. Every cold start makes four of
 * them, and on a disk each one costs an inode. So where we are a system service (root) and the
 * machine has a memory file system, `run/r` is a link to a private folder there, as system daemons
 * keep theirs in /run. For other users it stays a plain folder: what they have in memory file
 * systems may be cleared when they log out.
 *
 * Owns the folder behind the link. Only for who holds the lock of the state directory.
 */

#include "base/error.h"

/* Makes run/r anew and empty; what an earlier run left behind goes. run/ must be there. */
MUST_CHECK int runtime_dir_make(const char *home, struct error *err);
/* Removes it, and what the link points to. */
void runtime_dir_remove(const char *home);
