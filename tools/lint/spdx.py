# SPDX-License-Identifier: Apache-2.0
"""Fail when a source file does not say its licence in its first three lines."""
import lint

root = lint.root_arg()
seen, bad = 0, []
for f in lint.files(root):
    text = lint.text(f)
    if (f.suffix not in (".c", ".h", ".def", ".py", ".js", ".mjs", ".go", ".sh", ".sql")
            and f.name not in ("meson.build", "meson_options.txt") and not text.startswith("#!")):
        continue
    seen += 1
    if not any("SPDX-License-Identifier: Apache-2.0" in l for l in text.splitlines()[:3]):
        bad.append(f"{f.relative_to(root)}: no SPDX-License-Identifier line at the top")
lint.finish(seen, bad)
