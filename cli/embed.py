# SPDX-License-Identifier: Apache-2.0
"""embed.py NAME INPUT OUTPUT: a file as a C array NAME[] and its length NAME_len, for the build."""
import pathlib
import sys

name, source, target = sys.argv[1:]
data = pathlib.Path(source).read_bytes()
rows = [",".join(str(b if b < 128 else b - 256) for b in data[i:i + 32]) for i in range(0, len(data), 32)]
pathlib.Path(target).write_text(
    "#include <stddef.h>\n"
    f"extern const char {name}[];\nextern const size_t {name}_len;\n"
    f"const char {name}[] = {{\n" + ",\n".join(rows) + ",0};\n"
    f"const size_t {name}_len = {len(data)};\n")
