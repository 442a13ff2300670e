# SPDX-License-Identifier: Apache-2.0
"""What the lints share: the files of the tree, and the closing line that fails when nothing was seen."""
import pathlib
import re
import subprocess
import sys

COMPONENTS = ("queue-proxy", "activator", "autoscaler", "controller", "local", "broker", "cli")


def root_arg():
    return pathlib.Path(sys.argv[1]).resolve()


def files(root, *suffixes):
    """Tracked files and new ones that git does not ignore; every file where there is no git."""
    got = subprocess.run(["git", "-C", root, "ls-files", "-co", "--exclude-standard", "-z"],
                         capture_output=True, text=True, check=False)
    if got.returncode == 0:
        paths = [root / p for p in got.stdout.split("\0") if p]
    else:
        paths = [p for p in root.rglob("*") if "build" not in p.relative_to(root).parts[0]]
    return sorted(p for p in set(paths) if p.is_file() and (not suffixes or p.suffix in suffixes))


def text(path):
    try:
        return path.read_text()
    except UnicodeDecodeError:
        return ""


def code(source):
    """C source with comments and the insides of literals blanked, line numbers kept."""
    def blank(m):
        s = m.group(0)
        return '""' if s[0] == '"' else "' '" if s[0] == "'" else re.sub(r"[^\n]", " ", s)
    return re.sub(r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, source,
                  flags=re.S)


def finish(seen, bad):
    if not seen:
        bad.append("nothing was checked: this lint looked at no file at all")
    print("\n".join(bad) if bad else f"ok: {seen} checked")
    sys.exit(bool(bad))
