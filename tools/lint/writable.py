# SPDX-License-Identifier: Apache-2.0
"""Fail on writable data at module level (also function-local statics). Args: ROOT ARCHIVE…"""
import re
import subprocess
import sys

import lint

# What may be there: (object, symbol). One entry per line, with the reason beside it.
ALLOWED = {
    ("log.c.o", "log_state"),  # level and component, set once by main before the loop runs
}
bad, seen = [], 0
lint.root_arg()
for archive in sys.argv[2:]:
    out = subprocess.run(["objdump", "-t", archive], capture_output=True, text=True, check=True).stdout
    obj = archive
    for l in out.splitlines():
        if m := re.match(r"(\S+?):\s+file format", l):
            obj = m[1].rsplit("/", 1)[-1]
            seen += 1
        elif m := re.match(r"[0-9a-f]+ .{6}O (\S+)\s+[0-9a-f]+\s+(?:\.hidden )?(\S+)", l):
            section, symbol = m[1], re.sub(r"\.\d+$", "", m[2])
            if re.match(r"\.(data(?!\.rel\.ro)|bss|tdata|tbss)|\*COM\*", section) and \
                    (obj, symbol) not in ALLOWED:
                bad.append(f"{obj}: {symbol} is writable state in {section}; give it to an object")
lint.finish(seen, bad)
