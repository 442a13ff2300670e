# SPDX-License-Identifier: Apache-2.0
"""Fail when clang-format 14 would change a C file; skip (77) where that version is not installed."""
import concurrent.futures
import shutil
import subprocess
import sys

import lint

tool = shutil.which("clang-format-14")
if tool is None:
    print("skipped: no clang-format-14 here (tools/setup installs it)")
    sys.exit(77)
root = lint.root_arg()
paths = lint.files(root, ".c", ".h")
chunks = [paths[i::4] for i in range(4) if paths[i::4]]


def check(chunk):
    got = subprocess.run([tool, "--dry-run", "-Werror", "--style=file", *chunk], cwd=root,
                         capture_output=True, text=True, check=False)
    return [l for l in got.stderr.splitlines() if "error:" in l] if got.returncode else []


with concurrent.futures.ThreadPoolExecutor(2) as pool:
    bad = [l for lines in pool.map(check, chunks) for l in lines]
if bad:
    bad.append("tools/format puts this right")
lint.finish(len(paths), bad)
