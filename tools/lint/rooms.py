# SPDX-License-Identifier: Apache-2.0
"""Fail when a file includes a room, component or third-party header that lib/rooms.txt does not grant."""
import re

import lint

root = lint.root_arg()
rooms, components, bad, seen = {}, {}, [], 0
table = rooms
listed = root / "lib/rooms.txt"
for line in listed.read_text().splitlines() if listed.is_file() else []:
    if line.startswith("---"):
        table = components
    elif line.strip() and not line.startswith("#"):
        name, may, ext = (c.strip() for c in line.split("|"))
        table[name] = (set(may.split()) - {"-"} | {name}, tuple(set(ext.split()) - {"-"}))
order = list(rooms)
for name, (may, _) in (rooms | components).items():
    for m in may - {name}:
        if m not in order:
            bad.append(f"rooms.txt: {name} may include {m}, which is no room")
        elif name in rooms and order.index(m) > order.index(name):
            bad.append(f"rooms.txt: {name} may include the later room {m}")
third = {e for _, ext in (rooms | components).values() for e in ext}


def within(header, grants):
    return any(header == g or g.endswith("/") and header.startswith(g) for g in grants)


for f in lint.files(root, ".c", ".h", ".def"):
    parts = f.relative_to(root).parts
    if parts[0] != "lib" and parts[0] not in lint.COMPONENTS:
        continue
    name = parts[1] if parts[0] == "lib" else parts[0]
    if name not in (rooms if parts[0] == "lib" else components):
        bad.append(f"{'/'.join(parts)}: '{name}' is not declared in lib/rooms.txt")
        continue
    may, ext = (rooms | components)[name]
    seen += 1
    for n, l in enumerate(lint.text(f).splitlines(), 1):
        at = f"{'/'.join(parts)}:{n}"
        if m := re.match(r'\s*#\s*include\s+"([^"]+)"', l):
            if "/" not in m[1]:
                bad.append(f'{at}: write "{name}/{m[1]}": include paths start at lib/ or the root')
            elif m[1].split("/")[0] not in may:
                bad.append(f"{at}: {name} may not include {m[1]}")
        elif (m := re.match(r"\s*#\s*include\s+<([^>]+)>", l)) and within(m[1], third):
            if not within(m[1], ext):
                bad.append(f"{at}: {name} may not include <{m[1]}>")
lint.finish(seen, bad)
