# SPDX-License-Identifier: Apache-2.0
"""Ordinary clients call a function: curl by its host name, Python, Node and Go by the /_lull/ URL, kubectl reads it."""
import os
import shutil
import subprocess

import pytest
from conftest import ROOT

NODE = "fetch(process.argv[1]).then(r => r.text()).then(t => process.stdout.write(t))"
PYTHON = "import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())"
GO = """package main

import (
	"io"
	"net/http"
	"os"
)

func main() {
	got, err := http.Get(os.Args[1])
	if err != nil {
		panic(err)
	}
	io.Copy(os.Stdout, got.Body)
}
"""


def run(*command, **more):
    got = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=120, check=False, **more)
    assert got.returncode == 0, got.stderr
    return got.stdout


@pytest.fixture
def hello(lull, monkeypatch):
    monkeypatch.chdir(ROOT)
    lull.cli("deploy", "hello", "--source", "examples/hello-c")
    lull.path_url = f"http://127.0.0.1:{lull.public_port}/_lull/default/hello/from/a/client?x=1"
    return lull


def need(program):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


WANT = "Hello from C, world!\n"


def test_curl_by_name(hello):
    assert run("curl", "-sS", hello.cli("url", "hello").stdout.strip()) == WANT


def test_python(hello):
    assert run("python3", "-c", PYTHON, hello.path_url) == WANT


def test_node(hello):
    need("node")
    assert run("node", "-e", NODE, hello.path_url) == WANT


def test_go(hello, tmp_path):
    need("go")
    (tmp_path / "main.go").write_text(GO)
    env = {**os.environ, "CGO_ENABLED": "0"}
    assert run("go", "run", tmp_path / "main.go", hello.path_url, env=env) == WANT


def test_address_of_the_cluster_local_port(hello):
    assert run("curl", "-sS", hello.json("url", "hello")["address"]) == WANT


def test_kubectl_reads_it(hello):
    need("kubectl")
    out = run("kubectl", "--kubeconfig", hello.home / "kubeconfig", "get", "ksvc,pods")
    assert "service.serving.knative.dev/hello" in out and "http://hello.default.localhost" in out
    assert "pod/hello-00001-deployment-" in out
    assert "hello-00001" in run("kubectl", "--kubeconfig", hello.home / "kubeconfig", "get", "rev,rt,cfg,kpa,deploy")
