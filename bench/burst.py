# SPDX-License-Identifier: Apache-2.0
"""burst: many different idle C functions are called at once; all are answered. Beside it the same functions and
queue-proxies are started by hand and called, and what Lull's processor time is more than theirs is broken down."""
import os
import pathlib
import re
import resource
import selectors
import signal
import socket
import time

import api
import coldstart
import measure as m

ANSWER_S = 60


def call_all(connect, requests):
    """All connections first, then every request; → seconds from the first byte until each whole answer, in order."""
    sel, spent, socks = selectors.EpollSelector(), [], []
    for i, request in enumerate(requests):
        sock = connect(i)
        sock.setblocking(False)
        socks.append((sock, request))
        sel.register(sock, selectors.EVENT_READ, [i, b""])
    begun = time.monotonic()
    for sock, request in socks:
        sock.send(request)
    while len(spent) < len(requests):
        for key, _ in sel.select(ANSWER_S) or [(None, 0)]:
            if key is None:
                raise m.LoadError(f"{len(requests) - len(spent)} of {len(requests)} requests had no answer in {ANSWER_S} s")
            got = key.fileobj.recv(65536)
            key.data[1] += got
            head, found, body = key.data[1].partition(b"\r\n\r\n")
            if found or not got:
                if not head.startswith(b"HTTP/1.1 200 "):
                    raise m.LoadError(f"request {key.data[0]}: {key.data[1][:300]!r}")
                length = int(re.search(rb"(?i)content-length: *(\d+)", head)[1])
                if len(body) >= length:
                    spent.append(time.monotonic() - begun)
                    sel.unregister(key.fileobj)
                    key.fileobj.close()
    return spent


def used_s(pid):
    """Processor time of a process, its threads and its children that have ended. 0 when it is gone."""
    try:
        tasks = list(pathlib.Path(f"/proc/{pid}/task").iterdir())
        total = sum(int((t / "schedstat").read_text().split()[0]) for t in tasks) / 1e9
        after = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return total + (int(after[13]) + int(after[14])) / os.sysconf("SC_CLK_TCK")
    except OSError:
        return 0


def below(pid):
    """The process and all below it, with the names of their programs."""
    found, todo = {}, [pid]
    while todo:
        pid = todo.pop()
        try:
            found[pid] = os.path.basename(os.readlink(f"/proc/{pid}/exe"))
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                todo += map(int, (task / "children").read_text().split())
        except OSError:
            continue
    return found


def wait_listening(connect, seconds=30):
    end = time.monotonic() + seconds
    while True:
        try:
            connect().close()
            return
        except OSError:
            if time.monotonic() > end:
                raise m.LoadError("a process started by hand does not listen") from None
            time.sleep(0.002)


def unix_socket(path):
    sock = socket.socket(socket.AF_UNIX)
    try:
        sock.connect(str(path))
    except OSError:
        sock.close()
        raise
    return sock


def by_hand(folder, function, count):
    """Starts function and queue-proxy count times, sends a request through each. → processor seconds by program"""
    folder.mkdir()
    quiet, ports, pids = os.open(os.devnull, os.O_RDWR), [], {"function": [], "lull-queue-proxy": []}
    held = [socket.socket() for _ in range(count)]
    for sock in held:
        sock.bind(("127.0.0.1", 0))
        ports.append(sock.getsockname()[1])
    [sock.close() for sock in held]
    files = [(os.POSIX_SPAWN_DUP2, quiet, fd) for fd in (0, 1, 2)]
    try:
        for i, port in enumerate(ports):
            pids["function"].append(os.posix_spawn(function, [str(function)], {"PORT": str(port)}, file_actions=files))
            pids["lull-queue-proxy"].append(os.posix_spawn(m.program("lull-queue-proxy"), ["lull-queue-proxy"], {
                "USER_PORT": str(port), "LULL_QUEUE_LISTEN": f"unix:{folder}/{i}.q", "SERVING_POD": f"p{i}",
                "LULL_ADMIN_LISTEN": f"unix:{folder}/{i}.a"}, file_actions=files))
        for i in range(count):
            wait_listening(lambda i=i: unix_socket(folder / f"{i}.q"))
        call_all(lambda i: unix_socket(folder / f"{i}.q"), [b"GET / HTTP/1.1\r\nHost: hand\r\n\r\n"] * count)
        return {name: sum(map(used_s, group)) for name, group in pids.items()}
    finally:
        for pid in pids["function"] + pids["lull-queue-proxy"]:
            os.kill(pid, signal.SIGKILL)
        for pid in pids["function"] + pids["lull-queue-proxy"]:
            os.waitpid(pid, 0)
        os.close(quiet)


def through_lull(bench, names, supervisor):
    """→ (seconds until each answer, processor seconds by program)"""
    before = {pid: (name, used_s(pid)) for pid, name in below(supervisor).items()}
    own = time.process_time()

    def connect(i):
        return socket.create_connection(("127.0.0.1", bench.lull.public))
    spent = call_all(connect, [f"GET / HTTP/1.1\r\nHost: {n}.default.localhost\r\n\r\n".encode() for n in names])
    client = time.process_time() - own
    time.sleep(1)  # what a burst leaves to do belongs to it: statuses, logs, spare folders
    used = {}
    for pid, name in below(supervisor).items():
        used[name] = used.get(name, 0) + used_s(pid) - before.get(pid, (name, 0))[1]
    return spent, used, client


def row_burst(bench_of, options, report):
    count = 20 if options.short else 500
    bench = bench_of()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        bench.up("--max-replicas", count + 20)
        image = bench.image()
        bench.client().ask("PATCH", "/api/v1/namespaces/lull-system/configmaps/config-autoscaler", {"data": {
            "allow-zero-initial-scale": "true"}}, "application/merge-patch+json")
        time.sleep(0.5)
        api.many(bench, "b", count, lambda name: api.service(name, image, api.AT_ZERO), 120)
        api.at_rest(bench, 120)
        supervisor = next(iter(bench.pids()["lull"]))
        spent, lull, client = through_lull(bench, [f"b{i}" for i in range(count)], supervisor)
        bench.lull.cli("down")
        hand = by_hand(bench.folder / "hand", bench.folder / "hello-c" / "hello", count)
    finally:
        bench.end()
    last, extra = spent[-1], (sum(lull.values()) - sum(hand.values())) * 1000 / count
    lull["function"] = lull.pop("hello", 0)
    print(f"\n{count} cold starts at once: processor time each, ms")
    m.table(["program", "through Lull", "by hand"],
            [[name, f"{seconds * 1000 / count:.2f}", f"{hand[name] * 1000 / count:.2f}" if name in hand else ""]
             for name, seconds in sorted(lull.items(), key=lambda pair: -pair[1])] +
            [["all", f"{sum(lull.values()) * 1000 / count:.2f}", f"{sum(hand.values()) * 1000 / count:.2f}"],
             ["the client (not counted)", f"{client * 1000 / count:.2f}", ""]])
    report("burst", f"{count} idle functions called at once, the last answer", "≤ 2.5", last, "s", last <= 2.5)
    report("burst", "half of them answered", "–", coldstart.quantile(spent, 0.5), "s", True)
    report("burst", "cold starts per second", "≥ 250", count / last, "/s", count / last >= 250)
    report("burst", "processor time beyond starting them by hand, each", "≤ 5", extra, "ms", extra <= 5)

