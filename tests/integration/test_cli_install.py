# SPDX-License-Identifier: Apache-2.0
"""`lull install` and `lull uninstall` where there is no cluster to install on. tests/cluster has the rest."""


def test_the_lull_of_this_machine_is_no_cluster(lull):
    for command in ("install", "uninstall"):
        got = lull.cli(command, check=False)
        assert got.returncode == 1
        assert "name the cluster: --kubeconfig FILE" in got.stderr, got.stderr
    before = lull.cli("get", "configmap", "-A", "-o", "json").stdout
    got = lull.cli("install", "--kubeconfig", f"{lull.home}/kubeconfig", check=False)
    assert got.returncode == 1 and "this is no Kubernetes that Lull can be installed on" in got.stderr, got.stderr
    assert lull.cli("get", "configmap", "-A", "-o", "json").stdout == before


def test_the_manifests_are_printed(lull):
    text = lull.cli("install", "--print", "--registry", "registry.example", "--tag", "v1").stdout
    assert "image: registry.example/lull-activator:v1" in text and "dev.local/lull-" not in text
    got = lull.cli("install", "--print", "--tag", "a b", check=False)
    assert got.returncode == 1 and 'no tag of an image' in got.stderr
