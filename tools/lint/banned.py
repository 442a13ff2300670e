# SPDX-License-Identifier: Apache-2.0
"""Fail on calls that are unbounded, not re-entrant, or hide their errors."""
import re

import lint

BANNED = {
    "strcpy": "strbuf or snprintf", "strcat": "strbuf", "stpcpy": "strbuf", "sprintf": "snprintf",
    "vsprintf": "vsnprintf", "strncpy": "strbuf or snprintf", "strncat": "strbuf",
    "gets": "getline", "strtok": "slices", "atoi": "base/num", "atol": "base/num",
    "atoll": "base/num", "atof": "base/num", "gmtime": "gmtime_r", "localtime": "localtime_r",
    "ctime": "strftime", "asctime": "strftime", "rand": "getrandom", "srand": "getrandom",
    "mktemp": "mkstemp", "tmpnam": "mkstemp", "system": "uv_spawn", "popen": "uv_spawn",
    "alloca": "a bounded array", "usleep": "a timer",
    "vfork": "uv_spawn",
}
pattern = re.compile(r"(?<![\w.>])(" + "|".join(BANNED) + r")\s*\(")
root = lint.root_arg()
seen, bad = 0, []
for f in lint.files(root, ".c", ".h"):
    if f.name == "banned.h":
        continue
    seen += 1
    for n, l in enumerate(lint.code(lint.text(f)).splitlines(), 1):
        for m in pattern.finditer(l):
            bad.append(f"{f.relative_to(root)}:{n}: {m[1]}() is banned, use {BANNED[m[1]]}")
lint.finish(seen, bad)
