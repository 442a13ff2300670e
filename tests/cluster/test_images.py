# SPDX-License-Identifier: Apache-2.0
"""The images that the cluster runs: how large they are, and that a build elsewhere gives the same sidecar."""

import json
import os
import pathlib
import tarfile

import pytest

from cluster import ROOT, TAG, run

IMAGES = pathlib.Path(os.environ.get("LULL_IMAGES", "nowhere"))
MEGABYTE = 1000 * 1000


@pytest.mark.parametrize("part, most", [("queue-proxy", 4), ("activator", 25), ("autoscaler", 25), ("broker", 25), ("controller", 25)])
def test_an_image_is_small(part, most):
    size = (IMAGES / f"lull-{part}.tar").stat().st_size
    print(f"\nlull-{part}: {size / MEGABYTE:.1f} MB")
    assert size <= most * MEGABYTE


def test_libraries_are_one_layer_that_all_parts_have():
    """So a node has them in its memory once."""
    first = set()
    for part in ("activator", "autoscaler", "broker", "controller"):
        with tarfile.open(IMAGES / f"lull-{part}.tar") as image:
            layers = json.load(image.extractfile("manifest.json"))[0]["Layers"]
            assert len(layers) == 2
            first.add(layers[0])
            assert image.getmember(layers[1]).size < MEGABYTE
    assert len(first) == 1


@pytest.mark.timeout(900)
def test_a_build_elsewhere_gives_the_same_sidecar(tmp_path):
    run(str(ROOT / "deploy/images/build"), "--build-dir", str(tmp_path / "an/other/place"), "--out", str(tmp_path), "--tag", TAG,
        "lull-queue-proxy", timeout=850)
    assert (tmp_path / "lull-queue-proxy.tar").read_bytes() == (IMAGES / "lull-queue-proxy.tar").read_bytes()
