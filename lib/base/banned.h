// SPDX-License-Identifier: Apache-2.0
#pragma once

/*
 * Functions that this project refuses: they overflow, hide errors or share a static buffer.
 * Use struct strbuf and snprintf for text, base/num.h for numbers, base/clock.h for time.
 * The headers that declare them come first, so that only our own use is an error.
 * With clang and _FORTIFY_SOURCE some of them are macros, which it will not poison: gcc and the
 * lint hold the line there.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#ifndef __clang__
#pragma GCC poison strcpy strcat strncpy strncat stpcpy sprintf vsprintf gets strtok
#pragma GCC poison atoi atol atoll atof gmtime localtime ctime ctime_r asctime asctime_r
#pragma GCC poison mktemp tmpnam tempnam
#endif
