# SPDX-License-Identifier: Apache-2.0
"""Fail when a unit test or fuzz target lies in the tree but meson does not run it. Args: ROOT BUILD."""
import json
import pathlib
import re
import sys

import lint

root, build = lint.root_arg(), pathlib.Path(sys.argv[2])
info = build / "meson-info"
targets = json.loads((info / "intro-targets.json").read_text())
tests = json.loads((info / "intro-tests.json").read_text())
run = {i for t in tests for i in t["depends"]} | {c for t in tests for c in t["cmd"]}
compiled = {str(pathlib.Path(s).resolve())
            for t in targets if t["id"] in run or run & set(t["filename"])
            for group in t["target_sources"] for s in group.get("sources", [])}
seen, bad = 0, []
for f in lint.files(root, ".c"):
    where = str(f.relative_to(root))
    if re.match(r"tests/unit/.*/test_[^/]*\.c$|tests/unit/test_[^/]*\.c$|tests/fuzz/fuzz_[^/]*\.c$", where):
        seen += 1
        if str(f.resolve()) not in compiled:
            bad.append(f"{where}: no test of the build runs it; register it in its folder's meson.build")
lint.finish(seen, bad)
