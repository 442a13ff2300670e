# SPDX-License-Identifier: Apache-2.0
"""Fail when lull-queue-proxy needs more than libc and libuv: it sits beside every replica. Args: ROOT BINARY"""
import pathlib
import re
import subprocess
import sys

import lint

ALLOWED = ("libc.so.6", "libm.so.6", "libuv.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1")
binary = pathlib.Path(sys.argv[2])
seen, bad = 0, []
if binary.is_file():
    out = subprocess.run(["readelf", "-d", binary], capture_output=True, text=True, check=True).stdout
    seen = 1  # a static binary needs nothing and is fine
    bad = [f"{binary.name} needs {lib}" for lib in re.findall(r"\(NEEDED\).*\[(.+?)\]", out)
           if lib not in ALLOWED]
lint.finish(seen, bad)
