// SPDX-License-Identifier: Apache-2.0
#pragma once

/* The one translation from libcurl's codes to ours. Private to lib/fetch. */

#include <curl/curl.h>

#include "base/error.h"

/* detail: curl's own sentence, may be empty. Returns the code. */
int error_from_curl(struct error *err, CURLcode code, const char *detail);
