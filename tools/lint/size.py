# SPDX-License-Identifier: Apache-2.0
"""Fail on C functions over 120 lines and source files over 1000: past that nobody reads them."""
import lint

FUNCTION, FILE = 120, 1000
root = lint.root_arg()
seen, bad = 0, []
for f in lint.files(root, ".c", ".h", ".py"):
    lines = lint.text(f).splitlines()
    at = f.relative_to(root)
    seen += 1
    if len(lines) > FILE:
        bad.append(f"{at}: {len(lines)} lines, the limit is {FILE}")
    start = None
    for n, l in enumerate(lines, 1):  # the format puts a function's braces, and only those, at column 0
        if l == "{":
            start = n
        elif l.startswith("}") and start is not None:
            if n - start + 1 > FUNCTION:
                bad.append(f"{at}:{start}: a function of {n - start + 1} lines, the limit is {FUNCTION}")
            start = None
lint.finish(seen, bad)
