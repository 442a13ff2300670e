# SPDX-License-Identifier: Apache-2.0
"""lull-queue-proxy as docs/queue-proxy.md shows it: alone, in front of servers that know nothing of Lull."""
import os
import shutil
import subprocess
import sys
import urllib.error
import urllib.request

import pytest
from conftest import binary, free_ports
from lull_client import wait_for


def get(port, path="/"):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=30) as answer:
            return answer.status, answer.read(), dict(answer.headers)
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read(), dict(answer.headers)


def python_server(home, port):
    return [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(home / "www")]


def nginx_server(home, port):
    if not shutil.which("nginx"):
        pytest.skip("no nginx here")
    (home / "nginx.conf").write_text(
        f"daemon off; pid {home}/nginx.pid; error_log stderr; events {{}} "
        f"http {{ access_log off; client_body_temp_path {home}/b; proxy_temp_path {home}/p; fastcgi_temp_path {home}/f; "
        f"uwsgi_temp_path {home}/u; scgi_temp_path {home}/s; "
        f"server {{ listen 127.0.0.1:{port}; root {home}/www; }} }}")
    return ["nginx", "-c", str(home / "nginx.conf"), "-p", str(home)]


@pytest.mark.parametrize("server", [python_server, nginx_server])
def test_alone_in_front_of_a_server(home, server):
    (home / "www").mkdir()
    (home / "www").chmod(0o755)
    home.chmod(0o755)
    (home / "www" / "a.txt").write_text("from the server")
    (home / "www" / "a.txt").chmod(0o644)
    user, queue, admin = free_ports(3)
    # Only Knative's names, one of them without a meaning here, and the admin port (its own is fixed).
    env = {"PATH": os.environ["PATH"], "USER_PORT": str(user), "QUEUE_SERVING_PORT": str(queue),
           "CONTAINER_CONCURRENCY": "2", "QUEUE_SERVING_TLS_PORT": "8112", "ENABLE_PROFILING": "nonsense",
           "LULL_ADMIN_LISTEN": f"127.0.0.1:{admin}"}
    parts = [subprocess.Popen(server(home, user), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL),
             subprocess.Popen([binary("lull-queue-proxy")], env=env, stderr=subprocess.DEVNULL)]
    try:
        def ready():
            try:
                return get(admin, "/readyz")[0] == 200
            except OSError:
                return False
        wait_for(ready, 30, "the server answers through the queue-proxy")
        assert get(queue, "/a.txt")[:2] == (200, b"from the server")
        assert get(queue, "/absent")[0] == 404
        page = get(admin, "/metrics")[1].decode()
        assert 'lull_queue_requests_total{code="2xx"} 1\n' in page
        assert 'lull_queue_requests_total{code="4xx"} 1\n' in page
        assert "lull_queue_limit 2\n" in page
        parts[1].terminate()
        assert parts[1].wait(30) == 0
    finally:
        for p in parts:
            if p.poll() is None:
                p.terminate()
            p.wait(30)


@pytest.mark.parametrize("name,value,said", [
    ("CONTAINER_CONCURRENCY", "many", '"many" is not a whole number (allowed: 0 to 100000)'),
    ("CONTAINER_CONCURRENCY", "-1", "-1 is outside 0 to 100000"),
    ("QUEUE_SERVING_PORT", "65536", "65536 is outside 0 to 65535"),
    ("REVISION_TIMEOUT_SECONDS", "1.5", '"1.5" is not a whole number'),
    ("SERVING_READINESS_PROBE", "{", "Kubernetes' probe as JSON: "),
    ("LULL_QUEUE_LISTEN", "here", '"here" is not an address: IP:PORT, [IPv6]:PORT or unix:/path'),
    ("LULL_ADMIN_LISTEN", "here", '"here" is not an address: IP:PORT, [IPv6]:PORT or unix:/path'),
    ("LULL_USER_HOST", "localhost", '"localhost" is not'),
    ("LULL_DRAIN_QUIET", "5", '"5" is not a duration like 90s, 1m30s or 300ms (allowed: 0 to 600000 ms)'),
])
def test_a_bad_value_is_named(home, name, value, said):
    env = {"LULL_QUEUE_LISTEN": f"unix:{home}/q", "LULL_ADMIN_LISTEN": f"unix:{home}/a", "USER_PORT": "1", name: value}
    if name == "QUEUE_SERVING_PORT":
        del env["LULL_QUEUE_LISTEN"]
    got = subprocess.run([binary("lull-queue-proxy")], env=env, capture_output=True, text=True, timeout=30, check=False)
    assert got.returncode in (1, 2) and name in got.stderr and said in got.stderr.replace('\\"', '"'), got.stderr
