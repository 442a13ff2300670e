// SPDX-License-Identifier: Apache-2.0
#pragma once

/* What the objects that we keep look like, for pack.h: the words that nearly all of them have. */
extern const char object_sample[];
