# SPDX-License-Identifier: Apache-2.0
"""Every lint must fail on a planted fault, naming it, must fail on an empty tree, and pass on a good one."""
import json
import os
import pathlib
import subprocess
import sys
import tempfile

here = pathlib.Path(__file__).parent
SPDX = "// SPDX-License-Identifier: Apache-2.0\n"
ROOMS = "base | - | -\nloop | base | uv.h\n--- components\ncli | base | -\nlocal | loop | uv.h\n"
LONG = SPDX + "void f(void)\n{\n" + "    g();\n" * 130 + "}\n"
FORMAT = (here / "../../.clang-format").read_text()


def rooms(**more):
    return {"lib/rooms.txt": ROOMS, "lib/base/a.c": '#include "base/a.h"\n'} | {
        k.replace("__", "/") + ".c": v for k, v in more.items()}


# lint: (good tree, [(bad tree, what the lint must say)])
CASES = {
    "rooms": (rooms(), [
        (rooms(lib__base__b='#include "loop/x.h"\n'), "base may not include loop/x.h"),
        (rooms(lib__base__b="#include <uv.h>\n"), "base may not include <uv.h>"),
        (rooms(lib__new__b="\n"), "'new' is not declared"),
        (rooms(cli__b='#include "local/x.h"\n'), "cli may not include local/x.h"),
        (rooms(cli__b='#include "x.h"\n'), "include paths start at"),
        ({"lib/rooms.txt": "base | loop | -\nloop | - | -\n", "lib/base/a.c": ""}, "later room loop"),
    ]),
    "banned": ({"a.c": '// strcpy(a, b)\nint x = my_strcpy(1); char *s = "system(1)";\n'}, [
        ({"a.c": "void f(void) { strcpy(a, b); }\n"}, "a.c:1: strcpy() is banned"),
        ({"lib/x.h": "/* c */ int y = atoi(s);\n"}, "lib/x.h:1: atoi()")]),
    "cleanup": ({"a.c": "int f(void) { CLEANUP(strbuf_fini) struct strbuf b;\n strbuf_init(&b); return 1; }\n"}, [
        ({"a.c": "int f(void) { CLEANUP(strbuf_fini)\n struct strbuf b;\n if (x) return 0;\n strbuf_init(&b); }\n"}, "a.c:1: a way out before b")]),
    "spdx": ({"a.c": SPDX, "run": "#!/bin/sh\n# SPDX-License-Identifier: Apache-2.0\n"}, [
        ({"a.c": "int x;\n"}, "a.c: no SPDX"), ({"run": "#!/bin/sh\ntrue\n"}, "run: no SPDX")]),
    "size": ({"a.c": SPDX + "void f(void)\n{\n}\n"}, [
        ({"a.c": LONG}, "a.c:3: a function of 132 lines"),
        ({"a.c": SPDX + "int x;\n" * 1001}, "1002 lines, the limit is 1000")]),
    "private": ({"README.md": "see /var/lib, https://example.com and http://hello.default.localhost:8080\n"}, [
        ({"a.md": "cd /wo" "rk/main\n"}, "a path of one machine"),
        ({"a.md": "get https://packages.acme-corp" ".com/x\n"}, "foreign host")]),
    "format": ({".clang-format": FORMAT, "a.c": SPDX + "int x;\n"}, [
        ({".clang-format": FORMAT, "a.c": SPDX + "int   x ;\n"}, "a.c:2")]),
}


def lint(name, tree, *args):
    with tempfile.TemporaryDirectory() as d:
        for path, body in tree.items():
            p = pathlib.Path(d, path)
            p.parent.mkdir(parents=True, exist_ok=True)
            p.write_text(body.replace("@ROOT@", str(p.parents[len(pathlib.Path(path).parts) - 1].resolve())))
        env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(pathlib.Path(d).parent)}
        got = subprocess.run([sys.executable, here / f"{name}.py", d, *(a.format(d) for a in args)], env=env,
                             capture_output=True, text=True, check=False)
        return got.returncode, got.stdout + got.stderr


def meson_tree(tests):
    """A unit test with the two files of a build that tell what is compiled and what is run."""
    target = {"id": "t", "filename": ["/b/t"], "target_sources": [{"sources": ["@ROOT@/tests/unit/x/test_a.c"]}]}
    return {"tests/unit/x/test_a.c": SPDX, "b/meson-info/intro-targets.json": json.dumps([target]),
            "b/meson-info/intro-tests.json": json.dumps(tests)}


def build(tree_source, *flags):
    d = pathlib.Path(tempfile.mkdtemp())
    (d / "a.c").write_text(tree_source)
    subprocess.run(["cc", *flags, "a.c", "-o", "a.out"], cwd=d, check=True)
    return str(d / "a.out")


failed, ran = [], 0


def expect(what, got, code, words=""):
    global ran
    ran += 1
    if (got[0] == 77):
        print(f"skipped: {what}: {got[1].strip()}")
    elif got[0] != code or words not in got[1]:
        failed.append(f"{what}: exit {got[0]}, wanted {code} and '{words}' in:\n{got[1]}")


for name, (good, bads) in CASES.items():
    expect(f"{name} on a good tree", lint(name, good), 0)
    expect(f"{name} on an empty tree", lint(name, {}), 1, "nothing was checked")
    for tree, words in bads:
        expect(f"{name} on a bad tree", lint(name, tree), 1, words)

run = [{"depends": ["t"], "cmd": ["/b/t"]}]
expect("registered", lint("registered", meson_tree(run), "{}/b"), 0)
expect("registered, not run", lint("registered", meson_tree([]), "{}/b"), 1, "no test of the build runs it")
empty = {p: b for p, b in meson_tree(run).items() if not p.endswith(".c")}
expect("registered, nothing", lint("registered", empty, "{}/b"), 1, "nothing was checked")

clean = "static const int t[] = {1}; int f(int i); int f(int i) { return t[i]; }"
obj = build(clean, "-c")
expect("writable, clean", lint("writable", {}, obj), 0)
expect("writable, nothing", lint("writable", {}), 1, "nothing was checked")
expect("writable, .bss", lint("writable", {}, build("int f(void); int f(void) { static int n; return n++; }", "-c")),
       1, "n is writable state")
expect("writable, .data", lint("writable", {}, build("int n = 3;", "-c")), 1, "n is writable state")
expect("needed, clean", lint("needed", {}, build("int main(void) { return 0; }")), 0)
expect("needed, missing", lint("needed", {}, "/nonexistent"), 1, "nothing was checked")
expect("needed, too much", lint("needed", {}, build("int main(void) { return 0; }", "-Wl,--no-as-needed", "-lcurl")),
       1, "needs libcurl")


def reference(body):
    d = pathlib.Path(tempfile.mkdtemp())
    for part in ("activator", "queue-proxy", "autoscaler", "controller", "broker", "local", "cli"):
        (d / part).mkdir()
        program = d / part / ("lull" if part == "cli" else f"lull-{part}")
        program.write_text(f"#!/bin/sh\n{body}\n")
        program.chmod(0o755)
    got = subprocess.run([sys.executable, here / "../reference", "--check", d], capture_output=True, text=True,
                         check=False)
    return got.returncode, got.stdout + got.stderr


expect("reference, another table", reference("echo '## other'"), 1, "is not what the binaries say")
expect("reference, broken binary", reference("exit 3"), 1)

print("\n".join(failed) or f"ok: {ran} cases")
sys.exit(bool(failed))
