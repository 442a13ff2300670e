# SPDX-License-Identifier: Apache-2.0
"""Fail on a way out of a block between a CLEANUP variable without a value and the first use of it: its cleanup would run on rubbish."""
import re

import lint

FAR = 60  # lines looked at behind the variable
variable = re.compile(r"CLEANUP\(\w+\)\s+(?:const\s+)?(?:struct\s+)?\w+\s+\**(\w+)(?:\[\w*\])?;")
way_out = re.compile(r"\b(?:return|goto|ASSERT_OK)\b|^}", re.M)
root = lint.root_arg()
seen, bad = 0, []
for f in lint.files(root, ".c", ".h"):
    source = lint.code(lint.text(f))
    seen += 1
    for m in variable.finditer(source):
        behind = "\n".join(source[m.end():].split("\n")[:FAR])
        used, out = re.search(rf"\b{m[1]}\b", behind), way_out.search(behind)
        if out and (used is None or out.start() < used.start()):
            at = source.count("\n", 0, m.start()) + 1
            bad.append(f"{f.relative_to(root)}:{at}: a way out before {m[1]} has a value; put the line where it gets one")
lint.finish(seen, bad)
