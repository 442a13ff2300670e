// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The name of this activator among others. Owns nothing. */

/* configured, or else the host name and process id; the caller frees. */
char *instance_name(const char *configured);
