# SPDX-License-Identifier: Apache-2.0
"""hop: one proxy hop with keep-alive, the queue-proxy beside nginx and HAProxy.
chain: activator and queue-proxy on one core, beside one hop of nginx."""
import subprocess
import sys
import time

import measure as m

sys.path.insert(0, str(m.ROOT / "tests" / "lib"))
import fake_api  # noqa: E402

CONNECTIONS = (1, 16, 64, 256)


def nginx(folder, backend):
    port = m.free_port()
    conf = folder / "nginx.conf"
    conf.write_text(f"""
daemon off; master_process off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
  access_log off; keepalive_requests 100000000; server_tokens off;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  proxy_buffers 16 8k; proxy_buffer_size 8k; proxy_max_temp_file_size 0; client_body_buffer_size 256k;
  upstream u {{ server 127.0.0.1:{backend}; keepalive 1024; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    location / {{ proxy_pass http://u; }}
    location /stream {{ proxy_pass http://u; proxy_buffering off; }} }}
}}
""")
    return port, [m.Proc([m.tool("nginx", "nginx"), "-p", folder, "-c", conf], m.PROXY_CPU, listens=port)]


def haproxy(folder, backend):
    port = m.free_port()
    conf = folder / "haproxy.cfg"
    conf.write_text(f"""
global
  nbthread 1
  maxconn 8192
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
  option forwardfor
frontend f
  bind 127.0.0.1:{port}
  default_backend b
backend b
  server s 127.0.0.1:{backend}
""")
    return port, [m.Proc([m.tool("haproxy", "haproxy"), "-db", "-f", conf], m.PROXY_CPU, listens=port)]


def queue_proxy_env(folder, backend, listen, name, concurrency=0):
    return {"LULL_QUEUE_LISTEN": listen, "LULL_ADMIN_LISTEN": f"unix:{folder}/{name}.admin",
            "USER_PORT": str(backend), "CONTAINER_CONCURRENCY": str(concurrency)}


def queue_proxy_of(concurrency):
    def make(folder, backend):
        port = m.free_port()
        env = queue_proxy_env(folder, backend, f"127.0.0.1:{port}", "qp", concurrency)
        return port, [m.Proc([m.program("lull-queue-proxy")], m.PROXY_CPU, env, folder / "qp.log", port)]
    return make


queue_proxy = queue_proxy_of(0)


def direct(folder, backend):
    return backend, []


def chain(unix):
    def make(folder, backend):
        name = "unix" if unix else "tcp"
        port, queue_port = m.free_port(), m.free_port()
        queue = f"unix:{folder}/q.{name}" if unix else f"127.0.0.1:{queue_port}"
        qp = m.Proc([m.program("lull-queue-proxy")], m.PROXY_CPU, queue_proxy_env(folder, backend, queue, name),
                    folder / f"qp.{name}.log", None if unix else queue_port)
        api = fake_api.FakeApi()
        api.put("revisions", fake_api.revision("bench-1"))
        api.put("routes", fake_api.route("bench", {"bench-1": 100}, host="127.0.0.1"))
        api.put("pods", fake_api.pod("p", "bench-1", queue))
        kubeconfig = api.kubeconfig(folder / f"kubeconfig.{name}")
        activator = m.Proc([m.program("lull-activator"), "--kubeconfig", kubeconfig, "--public-listen",
                            f"127.0.0.1:{port}", "--local-listen", f"127.0.0.1:{m.free_port()}", "--admin-listen",
                            f"unix:{folder}/a.{name}.admin", "--pod-address", "unix"], m.PROXY_CPU,
                           log=folder / f"activator.{name}.log", listens=port)
        for _ in range(200):
            if subprocess.run(["curl", "-fs", f"http://127.0.0.1:{port}/"], capture_output=True,
                              check=False).returncode == 0:
                break
            time.sleep(0.05)
        return port, [activator, qp]
    return make


def compare(title, targets, baseline, options):
    """Interleaved rounds over all targets; a table of medians and of ratios to the baseline."""
    folder = m.scratch()
    backend = m.free_port()
    procs = [m.Proc([m.program("bench-backend"), backend], m.LOAD_CPU, listens=backend)]
    ports = {}
    raw = []
    try:
        for name, make in targets.items():
            port, own = make(folder, backend)
            ports[name] = (port, own)
            procs += own
            m.load(port, 16, 1)  # warm
        idle = {name: sum(p.pss_kib() for p in own) for name, (_, own) in ports.items()}
        for connections in options.connections or CONNECTIONS:
            points = {name: [] for name in targets}
            for _ in range(options.rounds):
                for name, (port, own) in ports.items():
                    points[name].append(m.measure(port, own, connections, options.seconds))
            raw.append({"benchmark": title, "connections": connections, "points": points})
            report(title, connections, points, baseline, idle)
    finally:
        for p in reversed(procs):
            p.end()
    return raw


def report(title, connections, points, baseline, idle):
    print(f"\n{title}, {connections} connections, medians of {len(points[baseline])} rounds")
    rows = []
    for name, got in points.items():
        ratio = [p["cpu_s_per_100k"] / b["cpu_s_per_100k"] for p, b in zip(got, points[baseline])
                 if b["cpu_s_per_100k"] > 0]
        speed = [p["rps"] / b["rps"] for p, b in zip(got, points[baseline])]
        rows.append([name, f"{m.median(got, 'rps'):.0f}", f"{m.median(got, 'p50_us'):.0f}",
                     f"{m.median(got, 'p99_us'):.0f}", f"{m.median(got, 'cpu_s_per_100k'):.2f}",
                     f"{m.statistics.median(ratio):.2f} ({min(ratio):.2f}–{max(ratio):.2f})",
                     f"{m.statistics.median(speed):.2f} ({min(speed):.2f}–{max(speed):.2f})",
                     f"{idle[name]} → {m.median(got, 'pss_kib'):.0f}"])
    m.table(["target", "req/s", "p50 µs", "p99 µs", "CPU s per 100k", f"CPU / {baseline}", f"req/s / {baseline}",
             "PSS KiB"], rows)


def run_hop(options):
    return compare("hop", {"nginx": nginx, "haproxy": haproxy, "queue-proxy": queue_proxy, "direct": direct},
                   "nginx", options)


def run_chain(options):
    return compare("chain", {"nginx": nginx, "chain tcp": chain(False), "chain unix": chain(True)}, "nginx", options)
