# SPDX-License-Identifier: Apache-2.0
"""Reads what count_calls.c counts in a program that it is preloaded into."""
import struct

NOT_SYSTEM_CALLS = {"malloc"}


def environment(library, file):
    return {"LD_PRELOAD": str(library), "COUNT_CALLS_FILE": str(file)}


def read_calls(file):
    """Name -> how often, so far."""
    raw = file.read_bytes()
    names = [raw[at:at + 16].rstrip(b"\0").decode() for at in range(4096, 8192, 16)]
    return {name: count for name, count in zip(names, struct.unpack("512Q", raw[:4096])) if name}
