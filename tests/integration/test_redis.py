# SPDX-License-Identifier: Apache-2.0
"""lull-broker with every kind of Redis that people have: TLS, users, replicas behind Sentinel, cluster mode; and with
those that must not keep events."""
import re
import subprocess
import threading
import socket

import pytest
from broker_world import World
from certs import Certificate
from conftest import binary, state_directory
from lull_client import wait_for
from redis_servers import Server, free_port

NEVER = {"retry": 0}


@pytest.fixture
def home():
    with state_directory() as folder:
        yield folder


def make_world(home, server):
    w = World(home, binary("lull-broker"), redis=server)
    w.broker()
    w.sink()
    w.trigger("t", w.sinks[0])
    return w


def trouble(w, text, name="w1"):
    wait_for(lambda: text in w.get("/readyz", name, check=False), 60, f"{text!r} as the reason")


def ready(w, name="w1"):
    wait_for(lambda: w.get("/readyz", name, check=False) == "ok\n", 60, "the broker is ready")


def delivered(w, ident, **more):
    """An event is taken, now or when Redis is there again, and comes."""
    wait_for(lambda: w.send(ident, **more) == 202, 60, f"{ident} is taken")
    wait_for(lambda: ident in w.sinks[0].ids(), 60, f"{ident} is delivered")


def test_tls_with_certificates_user_password_and_database(home):
    mine, other = Certificate("localhost"), Certificate("localhost")
    files = {}
    for name, text in (("ca", mine.cert), ("key", mine.key), ("other", other.cert)):
        files[name] = home / f"{name}.pem"
        files[name].write_text(text)
    server = Server(home / "a", tls=(files["ca"], files["ca"], files["key"]))  # asks for a client's certificate
    server.ask("ACL", "SETUSER", "lull", "on", ">p@ss/w:rd", "~lull:*", "+@read", "+@write", "+@connection", "+@scripting", "+time")
    w = make_world(home, server)
    try:
        url = server.address.replace("//", "//lull:p%40ss%2Fw%3Ard@")
        own = ["--redis-cert", str(files["ca"]), "--redis-key", str(files["key"])]
        known = ["--redis-ca", str(files["ca"]), *own]
        server_url, server.__class__ = url, type("Named", (Server,), {"address": url + "/3"})
        w.start(*known)
        w.known("t")
        delivered(w, "safe")
        assert int(server.ask("DBSIZE", db=3)) > 0 and server.ask("DBSIZE") == "0"
        assert w.said("does not let us use INFO")  # which is no reason to refuse it
        w.start("--redis-ca", str(files["other"]), *own, name="stranger", wait=False)
        trouble(w, "certificate", "stranger")
        server.__class__ = type("Number", (Server,), {"address": server_url.replace("localhost", "127.0.0.1")})
        w.start(*known, name="misnamed", wait=False)
        trouble(w, "certificate", "misnamed")
        w.start(*known, "--redis-server-name", "localhost", name="renamed")
        w.start("--redis-ca", str(files["ca"]), name="naked", wait=False)
        trouble(w, "redis is not there", "naked")
        wait_for(lambda: "not connected yet" not in w.get("/readyz", "naked", check=False), 60, "it was tried")
        assert w.get("/readyz", "naked", check=False) != "ok\n"
        # All in one folder, as a mounted Secret is: what lies beside the address counts.
        secret = home / "secret"
        secret.mkdir()
        for name, text in (("url", url), ("ca.crt", mine.cert), ("tls.crt", mine.cert), ("tls.key", mine.key)):
            (secret / name).write_text(text)
        w.start("--redis-file", str(secret / "url"), name="mounted")
        (secret / "ca.crt").write_text(other.cert)
        server.drop_clients()
        trouble(w, "certificate", "mounted")
        (secret / "ca.crt").write_text(mine.cert)
        ready(w, "mounted")
        (secret / "tls.key").unlink()  # half of a pair is none
        server.drop_clients()
        trouble(w, "redis is not there", "mounted")
    finally:
        w.close()


def test_a_password_that_changes_is_read_again(home):
    server = Server(home / "a")
    server.ask("CONFIG", "SET", "requirepass", "one")
    server.user = ("-a", "one", "--no-auth-warning")
    w = make_world(home, server)
    (home / "password").write_text("one\n")
    (home / "where").write_text(server.address + "\n")
    try:
        w.start("--redis-password-file", str(home / "password"), "--redis-file", str(home / "where"))
        w.known("t")
        delivered(w, "first")
        server.ask("CONFIG", "SET", "requirepass", "two")
        server.user = ("-a", "two", "--no-auth-warning")
        server.drop_clients()
        trouble(w, "does not know the user")
        event = {"ce-id": "x", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}
        wait_for(lambda: b"password" in w.post("/default/default", event)[2], 60, "senders hear it too")  # of the other connection
        assert w.send("x") == 503
        (home / "password").write_text("two")
        delivered(w, "second")
        (home / "password").unlink()
        server.drop_clients()
        trouble(w, "password of redis")
        (home / "password").write_text("two")
        ready(w)  # both connections: one that is just being made would not be dropped below
        # The address too may be another one: a Redis that was moved.
        moved = Server(home / "b", "--requirepass", "two")
        moved.user = server.user
        try:
            (home / "where").write_text(moved.address)
            server.drop_clients()
            delivered(w, "third")
            assert int(moved.ask("DBSIZE")) > 0
        finally:
            w.kill()
            moved.close()
    finally:
        w.close()


def test_a_redis_that_must_not_keep_events_is_refused_with_words(home):
    server = Server(home / "a")
    w = make_world(home, server)

    def becomes(text, *words):
        server.ask(*words)
        server.drop_clients()
        trouble(w, text)

    try:
        w.start()
        w.known("t")
        delivered(w, "first")
        becomes("allkeys-lru", "CONFIG", "SET", "maxmemory-policy", "allkeys-lru", "maxmemory", "100mb")
        becomes("ok\n", "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "0")
        becomes("may not use XTRIM, UNLINK", "ACL", "SETUSER", "default", "-xtrim", "-unlink")
        becomes("'eval' command", "ACL", "SETUSER", "default", "+@all", "-eval")
        becomes("ok\n", "ACL", "SETUSER", "default", "+@all")
        becomes("replica", "REPLICAOF", "127.0.0.1", "1")
        becomes("ok\n", "REPLICAOF", "NO", "ONE")
        # While it serves: it becomes a replica (READONLY), is full (OOM).
        server.ask("REPLICAOF", "127.0.0.1", "1")
        wait_for(lambda: w.send("readonly") == 503, 60, "a replica takes nothing")
        server.ask("REPLICAOF", "NO", "ONE")
        delivered(w, "second")
        server.ask("CONFIG", "SET", "maxmemory", "1")
        status, headers, body = w.post("/default/default", {"ce-id": "x", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"})
        assert status == 429 and int(headers["retry-after"]) > 0 and b"OOM" in body
        server.ask("CONFIG", "SET", "maxmemory", "0")
        delivered(w, "third")
        assert not w.said("appendonly no")
        becomes("ok\n", "CONFIG", "SET", "appendonly", "no")
        wait_for(lambda: w.said("appendonly no"), 60, "a warning")
        assert set(w.sinks[0].ids()) == {"first", "second", "third"}
    finally:
        w.close()


def test_a_full_disk_refuses_and_loses_nothing(home):
    server = Server(home / "a", "--appendfsync", "everysec")
    w = make_world(home, server)
    try:
        w.start()
        w.known("t")
        delivered(w, "first")
        server.limit_files(max(f.stat().st_size for f in (home / "a" / "appendonlydir").iterdir()) + 10000)
        taken, refused = [], None
        for i in range(100):
            status, headers, body = w.post("/default/default", {"ce-id": f"e{i}", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"},
                                           b"x" * 1000)
            if status == 202:
                taken.append(f"e{i}")
            else:
                refused = status, headers, body
                break
        assert refused[0] == 503 and int(refused[1]["retry-after"]) > 0, refused
        server.limit_files(None)
        delivered(w, "after")
        wait_for(lambda: set(taken) <= set(w.sinks[0].ids()), 60, "all that was taken is delivered")
        assert w.said("MISCONF") or b"MISCONF" in refused[2]
    finally:
        w.close()


def test_a_redis_that_reads_its_disk_is_waited_for(home):
    server = Server(home / "a")
    w = make_world(home, server)
    try:
        w.start()
        w.known("t")
        server.ask("EVAL", "for i = 1, 1000 do redis.call('SET', 'other:' .. i, string.rep('x', 2000)) end", 0)
        server.ask("BGREWRITEAOF")  # what it delays below is in the file that this makes
        manifest = home / "a" / "appendonlydir" / "appendonly.aof.manifest"
        wait_for(lambda: ".2.base.rdb" in manifest.read_text(), 60, "a new base file")
        server.kill()
        server.start("--key-load-delay", "50000", "--loading-process-events-interval-bytes", "1024", wait=False)
        trouble(w, "LOADING")
        assert w.send("too-early") == 503
        server.ask("CONFIG", "SET", "key-load-delay", "0")
        ready(w)
        delivered(w, "later")
    finally:
        w.close()


# --- Sentinel -------------------------------------------------------------------------------------------------------


class LyingSentinel(threading.Thread):
    """Answers every question for the master with `port`, whoever has it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.listener, self.answer = socket.create_server(("127.0.0.1", 0)), b"*-1\r\n"
        self.port = self.listener.getsockname()[1]
        self.start()

    def name(self, port):
        self.answer = b"*2\r\n$9\r\n127.0.0.1\r\n$%d\r\n%d\r\n" % (len(str(port)), port)

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                data = b""
                while chunk := connection.recv(4096):
                    data += chunk
                    if b"get-master-addr-by-name" in data:
                        connection.sendall(self.answer)
                        break
                    if data.endswith(b"PING\r\n"):
                        connection.sendall(b"+PONG\r\n")
                        data = b""
                connection.recv(1)

    def close(self):
        self.listener.close()


@pytest.fixture
def pair(home):
    master = Server(home / "m", "--repl-diskless-sync-delay", "0")
    replica = Server(home / "r", "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
    wait_for(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), 60, "the replica has all")
    yield master, replica
    for server in (replica, master):
        server.close()


def test_sentinel_finds_the_master_and_a_failover_is_followed(home, pair):
    master, replica = pair
    (home / "s").mkdir()
    (home / "s" / "redis.conf").write_text(
        f"sentinel monitor my-master 127.0.0.1 {master.port} 1\nsentinel down-after-milliseconds my-master 1000\n"
        "sentinel failover-timeout my-master 5000\n")
    sentinel = Server(home / "s", sentinel=True)
    wait_for(lambda: "num-other" in sentinel.ask("SENTINEL", "MASTERS") and str(replica.port) in sentinel.ask("SENTINEL", "REPLICAS", "my-master"),
             60, "Sentinel knows both")
    w = make_world(home, sentinel)
    try:
        # One that is away comes first; events are taken when one replica has them.
        sentinel.__class__ = type("Named", (Server,), {"address": f"redis+sentinel://127.0.0.1:1,127.0.0.1:{sentinel.port}/my-master"})
        w.start("--redis-wait", "1:2000", "--redis-timeout", "5s")
        w.known("t")
        delivered(w, "first")
        assert int(replica.ask("DBSIZE")) > 0
        wait_for(lambda: w.trigger_state()["backlog"] == 0, 60, "nothing is left")
        master.kill()
        wait_for(lambda: "role:master" in replica.ask("INFO", "replication"), 60, "the replica takes over")
        # The new master is alone: what it takes is not safe, and may come all the same.
        wait_for(lambda: "replicas" in w.post("/default/default", {"ce-id": "alone", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"})[2]
                 .decode(), 60, "a refusal for want of replicas")
        master.start("--replicaof", "127.0.0.1", str(replica.port))
        delivered(w, "second")
        assert w.metric("redis_downs_total") >= 1
    finally:
        w.close()


def test_all_that_is_acknowledged_waits_for_replicas(home):
    """Events, web hooks and asynchronous calls, also the same ones again; and what is acknowledged in another Redis."""
    master = Server(home / "m", "--repl-diskless-sync-delay", "0")
    w = make_world(home, master)
    replica = None
    try:
        w.start("--redis-wait", "1:200", "--local-gateway", f"127.0.0.1:{w.sinks[0].port}")
        w.known("t")
        w.source("webhooksources", "hook", w.sinks[0], signature={"scheme": "none"}, event={"idField": "n"})
        event = {"ce-specversion": "1.0", "ce-id": "e", "ce-source": "/s", "ce-type": "t"}
        batch = b'[{"specversion": "1.0", "id": "b", "source": "/s", "type": "t"}]'
        posts = (("/default/default", event, b""), ("/default/default", {"Content-Type": "application/cloudevents-batch+json"}, batch),
                 ("/_lull/hooks/default/hook", {"Content-Type": "application/json"}, b'{"n": "h"}'),
                 ("/_lull/async/do", {"Lull-Async-Host": "f.default.svc.cluster.local", "Idempotency-Key": "k"}, b"{}"))
        refused = [*posts, *posts[2:]]
        assert [w.post(*p)[0] for p in refused] == [503] * len(refused)
        assert all(b"replicas" in w.post(*p)[2] for p in posts)
        # An entry of another Redis that nobody takes is kept in ours first.
        refusing = w.sink(lambda _: (400, {}, b"never"))
        other = Server(home / "o")
        try:
            other.ask("LPUSH", "jobs", "bad")
            w.source("redissources", "jobs", refusing, url=other.address, list={"key": "jobs"}, parallelism=1, delivery={"retry": 0})
            wait_for(lambda: "replicas" in (w.source_state("jobs") or {}).get("trouble", ""), 60, "the trouble with the replicas")
            assert other.ask("LRANGE", "jobs:processing", "0", "-1") == "bad"
            replica = Server(home / "r", "--replicaof", "127.0.0.1", str(master.port), "--repl-diskless-sync-delay", "0")
            wait_for(lambda: other.ask("EXISTS", "jobs", "jobs:processing") == "0", 60, "it is kept and acknowledged")
        finally:
            other.close()
        wait_for(lambda: all(w.post(*p)[0] == 202 for p in posts), 60, "all are taken")
    finally:
        w.close()
        if replica is not None:
            replica.close()


def test_a_sentinel_that_names_a_replica_is_not_believed(home, pair):
    master, replica = pair
    liar = LyingSentinel()
    liar.address = f"redis+sentinel://127.0.0.1:{liar.port}/my-master"
    w = make_world(home, liar)
    try:
        w.start(wait=False)
        trouble(w, "knows no master")
        liar.name(replica.port)
        trouble(w, "named a replica")
        assert w.send("x") == 503
        liar.name(master.port)
        ready(w)
        w.known("t")
        delivered(w, "first")
    finally:
        w.close()


# --- cluster mode ---------------------------------------------------------------------------------------------------


def keys_of(words):
    """The keys that a command names, of those that the broker uses."""
    command = words[0].upper()
    if command in ("EVAL", "EVALSHA", "FCALL"):
        return words[3:3 + int(words[2])]
    if command in ("XREADGROUP", "XREAD"):
        rest = words[[w.upper() for w in words].index("STREAMS") + 1:]
        return rest[:len(rest) // 2]
    if command in ("XGROUP", "XINFO"):
        return words[2:3]
    if command in ("TIME", "PING", "HELLO", "AUTH", "SELECT", "INFO", "CLUSTER", "CLIENT", "ACL", "COMMAND", "CONFIG", "WAIT", "KEYS", "MULTI",
                   "EXEC", "SCRIPT"):
        return []
    return words[1:] if command in ("DEL", "UNLINK", "EXISTS", "MGET") else words[1:2]


def check_keys(lines):
    """→ how many commands, and how many of them in scripts, were looked at."""
    seen = in_scripts = 0
    declared = set()
    for line in lines:
        got = re.match(r'\S+ \[\d+ (\S+)\] (.*)', line)
        if not got:
            continue
        words = [w.replace('\\"', '"') for w in re.findall(r'"((?:[^"\\]|\\.)*)"', got[2])]
        if words[0].upper() in ("MULTI", "EXEC"):
            continue
        keys = keys_of(words)
        tags = {re.sub(r".*?{(.+?)}.*", r"\1", k) for k in keys}  # what Redis makes the slot of
        assert len(tags) <= 1, f"keys of several slots: {words[:8]}"
        assert all(k.startswith("lull:") for k in keys), words[:8]
        seen += 1
        if got[1] == "lua":
            in_scripts += 1
            assert tags <= declared, f"{words[0]} of a script touches {keys}; its KEYS have the tags {declared}"
        elif words[0].upper() in ("EVAL", "EVALSHA"):
            declared = tags
    return seen, in_scripts


def test_clustered_redis_with_all_slots_takes_every_script(home):
    server = Server(home / "a", "--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server.ask("CLUSTER", "ADDSLOTSRANGE", "0", "16383")
    wait_for(lambda: "cluster_state:ok" in server.ask("CLUSTER", "INFO"), 60, "the cluster of one")
    with open(home / "monitor", "w", encoding="utf-8", errors="replace") as out:
        monitor = subprocess.Popen(["redis-cli", "-p", str(server.port), "MONITOR"], stdout=out)
    w = World(home, binary("lull-broker"), redis=server)
    wait_for(lambda: "OK" in (home / "monitor").read_text(), 60, "every command is written down")
    tries, hold = {}, threading.Event()

    def answer(event):
        n = tries[event["ce-id"]] = tries.get(event["ce-id"], 0) + 1
        return (204 if n > 1 and event["ce-id"] != "never" else 503), {}, b""

    try:
        w.broker(), w.broker("second")
        flaky, slow = w.sink(answer), w.sink(lambda e: (hold.wait(100), (204, {}, b""))[1])
        again = {"retry": 2, "backoffPolicy": "linear", "backoffDelay": "PT0.01S"}
        w.trigger("t", flaky, delivery=again)
        w.trigger("slow", slow, broker="second", annotations={"events.lull.dev/parallelism": "8"})
        called, pinged = w.sink(), w.sink()
        more = ["--keep-events", "5", "--local-gateway", f"127.0.0.1:{called.port}", "--worker-silence", "3s"]
        w.start(*more), w.known("t"), w.known("slow", broker="second")
        # Asynchronous calls and PingSources have keys of their own.
        asked = {"Lull-Async-Host": "hello.default.svc.cluster.local", "Lull-Async-Origin": "local", "Idempotency-Key": "k"}
        status, headers, _ = w.post("/_lull/async/x", asked, b"work")
        assert status == 202
        wait_for(lambda: w.post(headers["location"], {"Prefer": "wait=2"}, method="GET")[0] == 204, 60, "its result")
        w.api.put("pingsources", {"metadata": {"name": "p"}, "spec": {"schedule": "* * * * * *", "sink": {"uri": "http://x"}},
                                  "status": {"sinkUri": pinged.url}})
        wait_for(lambda: pinged.events, 60, "a PingSource fires")
        w.api.delete("pingsources", "p")
        for i in range(200):
            assert w.send(f"e{i}") == 202
        assert w.send("never") == 202 and w.send("held", broker="second") == 202
        wait_for(lambda: w.trigger_state()["dead"] == 1 and w.trigger_state()["delivered"] == 200, 60, "each has come, and one is dead")
        wait_for(lambda: len(slow.events) == 1, 60, "one is held")
        wait_for(lambda: w.metric("trimmed_total") > 0, 60, "what is done is trimmed")
        w.start(*more, name="w2"), w.known("t", name="w2")
        w.kill()
        hold.set()
        wait_for(lambda: len(slow.events) == 2, 60, "the other worker takes over")
        wait_for(lambda: server.ask("ZRANGE", "lull:workers", 0, -1) == "w2", 60, "the dead one is forgotten")
        w.api.delete("triggers", "t"), w.api.delete("triggers", "slow"), w.api.delete("brokers", "default"), w.api.delete("brokers", "second")
        wait_for(lambda: server.ask("KEYS", "lull:{default/*") == "", 60, "all is gone")
        errors = server.ask("INFO", "errorstats")
        assert not re.search("CROSSSLOT|MOVED|CLUSTERDOWN", errors), errors
    finally:
        monitor.terminate()
        monitor.wait()
        w.close()
    seen, in_scripts = check_keys((home / "monitor").read_text(errors="replace").splitlines())
    assert seen > 400 and in_scripts > 400, (seen, in_scripts)
