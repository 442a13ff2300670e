# SPDX-License-Identifier: Apache-2.0
"""deploy/images/build: what is in an image, and that the same binary gives the same bytes."""

import gzip
import hashlib
import io
import json
import pathlib
import subprocess
import tarfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.quick


def build(out, *args):
    return subprocess.run([ROOT / "deploy/images/build", "--out", out, *args], cwd=ROOT,
                          capture_output=True, text=True, check=False)


def compile_hello(folder, *flags):
    source = folder / "hello.c"
    source.write_text('#include <stdio.h>\nint main(void) { puts("hello"); return 0; }\n')
    subprocess.run(["cc", *flags, "-o", folder / "hello", source], check=True)
    return folder / "hello"


def unpack(path):
    """(manifest, config, {name in a layer: TarInfo}) of an image tar, every digest checked."""
    with tarfile.open(path) as image:
        blobs = {}
        for member in image.getmembers():
            if member.isfile() and member.name.startswith("blobs/sha256/"):
                data = image.extractfile(member).read()
                assert hashlib.sha256(data).hexdigest() == member.name.rsplit("/", 1)[1]
                blobs["sha256:" + member.name.rsplit("/", 1)[1]] = data
        index = json.load(image.extractfile("index.json"))
        docker = json.load(image.extractfile("manifest.json"))
    manifest = json.loads(blobs[index["manifests"][0]["digest"]])
    config = json.loads(blobs[manifest["config"]["digest"]])
    members = {}
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == len(config["history"])
    for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"]):
        data = gzip.decompress(blobs[layer["digest"]])
        assert "sha256:" + hashlib.sha256(data).hexdigest() == diff_id
        members.update({member.name: member for member in tarfile.open(fileobj=io.BytesIO(data)).getmembers()})
    assert docker[0]["Layers"] == ["blobs/" + layer["digest"].replace(":", "/") for layer in manifest["layers"]]
    assert docker[0]["Config"] == "blobs/" + manifest["config"]["digest"].replace(":", "/")
    return index, docker, config, members


@pytest.mark.parametrize("flags", [[], ["-static"]], ids=["dynamic", "static"])
def test_an_image_holds_the_binary_and_its_libraries(tmp_path, flags):
    binary = compile_hello(tmp_path, *flags)
    done = build(tmp_path, "--image", "dev.local/hello:1", "--binary", binary)
    assert done.returncode == 0, done.stderr
    index, docker, config, files = unpack(done.stdout.strip())
    assert docker[0]["RepoTags"] == ["dev.local/hello:1"]
    assert index["manifests"][0]["annotations"]["io.containerd.image.name"] == "dev.local/hello:1"
    assert config["config"]["Entrypoint"] == ["/usr/bin/hello"]
    assert config["config"]["User"] == "65532:65532"
    libraries = [name for name, member in files.items() if member.isfile() and "lib" in name]
    assert any("libc.so" in name for name in libraries) == (not flags)
    assert any("ld-linux" in name for name in libraries) == (not flags)
    assert files["usr/bin/hello"].mode == 0o755
    assert all((f.mtime, f.uid, f.gid) == (0, 0, 0) for f in files.values())


def test_the_same_binary_gives_the_same_bytes(tmp_path):
    binary = compile_hello(tmp_path)
    images = []
    for name in ("one", "two"):
        done = build(tmp_path / name, "--image", "dev.local/hello:1", "--binary", binary)
        images.append(pathlib.Path(done.stdout.strip()).read_bytes())
    assert images[0] == images[1]


def test_what_is_wrong_is_said(tmp_path):
    for args, want in [
        (["--image", "dev.local/x:1"], "--binary"),
        (["--image", "No Name", "--binary", "/bin/true"], "want NAME:TAG"),
        (["--image", "dev.local/x:1", "--binary", tmp_path / "none"], "does not exist"),
        (["--image", "dev.local/x:1", "--binary", __file__], "is not an ELF program"),
        (["lull-nothing"], "no part is called lull-nothing"),
    ]:
        done = build(tmp_path, *args)
        assert done.returncode != 0 and want in done.stderr, (args, done.stderr)
