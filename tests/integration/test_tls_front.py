# SPDX-License-Identifier: Apache-2.0
"""The public listener with TLS: certificates by host name, what is refused, and everything that plain HTTP carries."""
import http.client
import re
import socket
import ssl
import subprocess
import threading
import warnings

import pytest
import test_dataplane_streams as plain
from certs import Certificate
from chain import HOST, Chain, copy_of
from conftest import binary, state_directory
from lull_client import wait_for
from streams import Streams

MIB = 1024 * 1024


@pytest.fixture(scope="module")
def certificate():
    return Certificate(HOST)


@pytest.fixture(scope="module")
def chain(certificate):
    function = Streams()
    with state_directory() as home:
        it = Chain(binary, home, function.port, certificate=certificate,
                   options=("--client-head", "2s", "--client-idle", "20s"))
        it.function, it.client, it.certificate = function, certificate.client(), certificate
        yield it
        function.open.set()
        it.close()
        function.close()


def dial(chain, name=HOST, context=None, timeout=30):
    s = socket.create_connection(("127.0.0.1", chain.tls_port), timeout)
    return (context or chain.client).wrap_socket(s, server_hostname=name, suppress_ragged_eofs=False)


def anybody(**more):
    """A client that takes every certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for key, value in more.items():
        setattr(context, key, value)
    return context


def shown(chain, name, context=None):
    """The certificate that a client is shown, or the alert that it gets."""
    try:
        with dial(chain, name, context or anybody()) as s:
            return s.getpeercert(True)
    except ssl.SSLError as e:
        return e.reason or str(e).upper().replace(" ", "_")


def metric(chain, name):
    page = subprocess.run(["curl", "-fsS", "--unix-socket", chain.home / "aa", "http://a/metrics"],
                          capture_output=True, check=True, text=True).stdout
    found = re.search(rf"^{re.escape(name)} (\S+)$", page, re.M)
    return float(found[1]) if found else None


@pytest.mark.quick
def test_a_request_over_tls(chain):
    with dial(chain) as s:
        assert s.version() == "TLSv1.3"
        s.sendall(f"POST /upload HTTP/1.1\r\nHost: {HOST}\r\nContent-Length: 3\r\n\r\nabc".encode())
        got = http.client.HTTPResponse(s)
        got.begin()
        assert (got.status, got.read().split()[0]) == (200, b"3")
    for version, name in ((ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")):
        with dial(chain, context=anybody(minimum_version=version, maximum_version=version)) as s:
            assert s.version() == name
            assert not s.session_reused and s.compression() is None
            assert "GCM" in s.cipher()[0] or "CHACHA20" in s.cipher()[0]


def test_everything_that_plain_http_carries(chain):
    plain.websocket(chain, 100)
    plain.events(chain, 100)
    plain.warm(chain)
    chain.forget_peaks()
    for chunked in (False, True):
        plain.upload(chain, 48 * MIB, chunked)
    plain.download(chain, 48 * MIB)
    plain.constant(chain)


def test_an_answer_that_ends_with_the_connection_ends_with_a_goodbye(chain):
    """suppress_ragged_eofs is off: an end without close_notify would raise."""
    with dial(chain) as s, s.makefile("rb") as f:
        s.sendall(f"GET /download?100000 HTTP/1.0\r\nHost: {HOST}\r\n\r\n".encode())
        status, headers = plain.head(f)
        assert status == 200 and "content-length" not in headers and "transfer-encoding" not in headers
        assert len(f.read()) == 100000
    with dial(chain) as s, s.makefile("rb") as f:
        s.sendall(f"GET /upload HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
        assert f.read().endswith(b"0 0")


def test_what_is_not_spoken_is_refused(chain):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = anybody(minimum_version=ssl.TLSVersion.TLSv1, maximum_version=ssl.TLSVersion.TLSv1_1)
    old.set_ciphers("ALL:@SECLEVEL=0")
    assert "PROTOCOL_VERSION" in shown(chain, HOST, old)
    weak = anybody(maximum_version=ssl.TLSVersion.TLSv1_2)
    weak.set_ciphers("AES128-SHA:AES256-GCM-SHA384:ECDHE-ECDSA-AES128-SHA")
    assert "HANDSHAKE_FAILURE" in shown(chain, HOST, weak)
    h2 = anybody()
    h2.set_alpn_protocols(["h2"])
    assert "NO_APPLICATION_PROTOCOL" in shown(chain, HOST, h2)
    both = anybody()
    both.set_alpn_protocols(["h2", "http/1.1"])
    with dial(chain, context=both) as s:
        assert s.selected_alpn_protocol() == "http/1.1"
    # Plain HTTP at this port: the end.
    with socket.create_connection(("127.0.0.1", chain.tls_port), 10) as s:
        s.sendall(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert s.recv(1) in (b"", b"\x15")
    # A client that begins the handshake anew is turned away.
    done = subprocess.run(["openssl", "s_client", "-connect", f"127.0.0.1:{chain.tls_port}", "-servername", HOST, "-tls1_2"],
                          input="R\n", capture_output=True, text=True, timeout=30, check=False)
    assert "RENEGOTIATING" in done.stderr and "no renegotiation" in done.stderr, done.stderr


def test_which_certificate(chain, certificate):
    unnamed = metric(chain, "lull_activator_tls_no_certificate_total")
    assert shown(chain, "nobody.example.com") == "TLSV1_UNRECOGNIZED_NAME"
    assert shown(chain, None) == "TLSV1_UNRECOGNIZED_NAME"
    assert metric(chain, "lull_activator_tls_no_certificate_total") == unnamed + 2
    assert "no certificate for a client" in chain.log("activator")
    wild = Certificate("*.example.com", "example.org")
    chain.api.put("secrets", copy_of("l.wild", "", wild))
    wait_for(lambda: shown(chain, "nobody.example.com") == wild.der, 10, "the wildcard's certificate")
    assert shown(chain, HOST) == certificate.der  # the exact one
    assert shown(chain, None) == shown(chain, "else.where") == wild.der  # the first listed one
    assert metric(chain, "lull_activator_certificates") == 2
    assert metric(chain, f'lull_activator_certificate_not_after_seconds{{certificate="{HOST}"}}') > 1.7e9
    chain.api.delete("secrets", "l.wild", "lull-system")
    wait_for(lambda: shown(chain, "nobody.example.com") == "TLSV1_UNRECOGNIZED_NAME", 10, "it is gone")


def test_a_certificate_changes_under_load(chain):
    """No request fails, connections stay, new ones are shown the new certificate; a broken one changes nothing."""
    stop, bad, good = threading.Event(), [], [0]

    def call():
        while not stop.is_set():
            try:
                with dial(chain, context=anybody()) as s, s.makefile("rb") as f:
                    s.sendall(f"GET /upload HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    assert b" 200 " in f.readline()
                    f.read()
                    good[0] += 1
            except (OSError, AssertionError) as e:
                bad.append(repr(e))

    threads = [threading.Thread(target=call) for _ in range(3)]
    with dial(chain) as kept, kept.makefile("rb") as f:
        for t in threads:
            t.start()
        try:
            for days in (31, 32, 33):
                new = Certificate(HOST, days=days)
                chain.api.put("secrets", copy_of("d." + HOST, HOST, new))
                wait_for(lambda: shown(chain, HOST) == new.der, 10, "the new certificate")
            broken = copy_of("d." + HOST, HOST, new)
            broken["data"]["tls.key"] = chain.certificate.data()["tls.key"]
            chain.api.put("secrets", broken)
            wait_for(lambda: metric(chain, "lull_activator_certificates_unreadable_total") == 1, 10, "it was looked at")
            assert shown(chain, HOST) == new.der
            seen = good[0]
            wait_for(lambda: good[0] > seen + 20 or bad, 20, "more answers")
        finally:
            stop.set()
            for t in threads:
                t.join()
        assert not bad
        kept.sendall(f"GET /upload HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
        assert b" 200 " in f.readline()
    chain.api.put("secrets", copy_of("d." + HOST, HOST, chain.certificate))
    wait_for(lambda: shown(chain, HOST) == chain.certificate.der, 10, "the first one again")


def test_slow_handshakes_end(chain):
    """--client-head covers the handshake; who never ends it holds nothing up."""
    with socket.create_connection(("127.0.0.1", chain.tls_port), 30) as silent, \
            socket.create_connection(("127.0.0.1", chain.tls_port), 30) as slow:
        slow.sendall(b"\x16\x03\x01\x02\x00\x01\x00")  # the beginning of a ClientHello
        wait_for(lambda: metric(chain, "lull_activator_tls_handshakes") == 2, 10, "both are under way")
        test_a_request_over_tls(chain)
        assert silent.recv(1) == slow.recv(1) == b""
    assert metric(chain, "lull_activator_tls_handshakes") == 0


def test_a_flood_of_handshakes_is_bounded(chain):
    """The 1025th that is under way is turned away; requests in the clear and others' answers go on."""
    crowd = []
    refused = metric(chain, "lull_activator_tls_refused_total")
    with dial(chain) as kept, kept.makefile("rb") as f:
        try:
            for _ in range(1100):
                crowd.append(socket.create_connection(("127.0.0.1", chain.tls_port), 10))
            wait_for(lambda: metric(chain, "lull_activator_tls_refused_total") > refused, 20, "some are refused")
            assert metric(chain, "lull_activator_tls_handshakes") <= 1024
            kept.sendall(f"GET /upload HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            assert b" 200 " in f.readline()
        finally:
            for s in crowd:
                s.close()
    wait_for(lambda: metric(chain, "lull_activator_tls_handshakes") == 0, 20, "none is under way")


def ask_plain(chain, path="/upload", headers=(), port=None, host=HOST):
    with socket.create_connection(("127.0.0.1", port or chain.port), 10) as s, s.makefile("rb") as f:
        s.sendall("\r\n".join([f"GET {path} HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode())
        return plain.head(f)


def test_requests_in_the_clear_are_sent_on(chain):
    local = int(re.search(r'"local_port":(\d+)', chain.log("activator"))[1])
    assert ask_plain(chain)[0] == 200
    network = {"metadata": {"name": "config-network", "namespace": "lull-system"},
               "data": {"http-protocol": "Redirected", "external-tls-port": str(chain.tls_port)}}
    chain.api.put("configmaps", network)
    try:
        wait_for(lambda: ask_plain(chain)[0] == 301, 10, "a redirect")
        got = ask_plain(chain, "/upload?a=b&c=%20d", host=f"{HOST}:{chain.port}")
        assert got == (301, {**got[1], "location": f"https://{HOST}:{chain.tls_port}/upload?a=b&c=%20d"})
        assert ask_plain(chain, port=local)[0] == 200  # the private listener
        assert ask_plain(chain, "/upload", ["X-Forwarded-Proto: https"])[0] == 301  # not from anybody
        chain.api.put("secrets", copy_of("d." + HOST, "other.example.com", chain.certificate))
        wait_for(lambda: ask_plain(chain)[0] == 200, 10, "no redirect without a certificate")
        chain.api.put("secrets", copy_of("d." + HOST, HOST, chain.certificate))
        wait_for(lambda: ask_plain(chain)[0] == 301, 10, "a redirect again")
        route = chain.api.objects[("routes", "default", "f")]
        route["metadata"]["annotations"] = {"networking.knative.dev/http-protocol": "enabled"}
        chain.api.put("routes", route)
        wait_for(lambda: ask_plain(chain)[0] == 200, 10, "its own word")
    finally:
        route = chain.api.objects[("routes", "default", "f")]
        route["metadata"]["annotations"] = {}
        chain.api.put("routes", route)
        chain.api.put("configmaps", {**network, "data": {}})
    wait_for(lambda: ask_plain(chain)[0] == 200, 10, "no redirect")


def test_several_workers(certificate):
    function = Streams()
    with state_directory() as home:
        it = Chain(binary, home, function.port, certificate=certificate, held=True,
                   options=("--workers", "2"))
        try:
            it.release()
            wait_for(lambda: all(w.get("revisions") for w in it.state()["workers"]), 30, "both know the replica")
            it.client = certificate.client()
            for _ in range(20):
                with dial(it) as s, s.makefile("rb") as f:
                    s.sendall(f"GET /upload HTTP/1.1\r\nHost: {HOST}\r\nConnection: close\r\n\r\n".encode())
                    assert f.read().endswith(b"0 0")
            assert metric(it, "lull_activator_tls_handshakes_done_total") == 20
            assert metric(it, "lull_activator_certificates") == 1
        finally:
            it.close()
            function.close()


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_tls_front_long(chain):
    plain.warm(chain)
    chain.forget_peaks()
    for chunked in (False, True):
        plain.upload(chain, 2048 * MIB, chunked)
    plain.download(chain, 2048 * MIB)
    plain.websocket(chain, 5000)
    plain.constant(chain)
