# SPDX-License-Identifier: Apache-2.0
"""Streams through both proxies: each piece comes when it is sent, and memory does not grow with what passes."""
import base64
import os
import random
import socket
import time
import zlib

import pytest
from chain import HOST, Chain
from conftest import binary
from lull_client import wait_for
from streams import BLOCK, Streams, accept_key, frame, read_frame

MIB = 1024 * 1024
GROWTH = 1536  # KiB that either proxy may take for a stream, however long it is
SEED = int(os.environ.get("LULL_SEED", "1"))


@pytest.fixture
def streams(home):
    function = Streams()
    chain = Chain(binary, home, function.port)
    chain.function, chain.client = function, None
    yield chain
    function.open.set()
    chain.close()
    function.close()


def connect(chain):
    s = socket.create_connection(("127.0.0.1", chain.tls_port or chain.port), 60)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if chain.client is not None:  # test_tls_front.py
        s = chain.client.wrap_socket(s, server_hostname=HOST, suppress_ragged_eofs=False)
    return s


def ask(s, line, *headers):
    s.sendall("\r\n".join([f"{line} HTTP/1.1", f"Host: {HOST}", *headers, "", ""]).encode())


def head(f):
    """→ (status, headers)"""
    status, headers = int(f.readline().split()[1]), {}
    while (line := f.readline().strip()):
        name, _, value = line.partition(b":")
        headers[name.decode().lower()] = value.strip().decode()
    return status, headers


def warm(chain):
    """A short one of each kind, so that what a first use takes is not counted."""
    upload(chain, MIB)
    download(chain, MIB)


def constant(chain):
    grown = chain.peaks()
    print(f"peaks above the start, KiB: queue-proxy {grown[0]}, activator {grown[1]}")
    assert max(grown) <= GROWTH, f"KiB, queue-proxy and activator: {grown}"


# --- WebSocket -----------------------------------------------------------------------------------------------------


def websocket(chain, messages):
    rng = random.Random(SEED)
    key = base64.b64encode(rng.randbytes(16))
    with connect(chain) as s, s.makefile("rb") as f:
        ask(s, "GET /echo", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            f"Sec-WebSocket-Key: {key.decode()}")
        status, headers = head(f)
        assert status == 101 and headers["sec-websocket-accept"] == accept_key(key).decode(), headers
        for i in range(messages):
            text = rng.randbytes(rng.choice((0, 1, 125, 126, 1000, 65535, 65536, 100_000)))
            s.sendall(frame(2, text, rng.randbytes(4)))
            assert read_frame(f) == (2, text), f"message {i}"
        s.sendall(frame(8, b"\x03\xe8", rng.randbytes(4)))
        assert read_frame(f) == (8, b"\x03\xe8")
        assert f.read() == b""


def test_a_websocket_echo(streams):
    websocket(streams, 20)
    streams.forget_peaks()
    websocket(streams, 400)
    constant(streams)


# --- server-sent events --------------------------------------------------------------------------------------------


def events(chain, count):
    with connect(chain) as s, s.makefile("rb") as f:
        ask(s, f"GET /clock?{count}")
        status, headers = head(f)
        assert status == 200 and headers["content-type"] == "text/event-stream"
        for n in range(count):
            size = int(f.readline(), 16)
            assert f.read(size + 2) == b"data: %d\n\n\r\n" % n
            chain.function.tick.release()  # not before this one has arrived is the next one sent
        assert f.readline() == b"0\r\n"


def test_events_come_one_by_one(streams):
    events(streams, 10)
    streams.forget_peaks()
    events(streams, 1000)
    constant(streams)


# --- large bodies --------------------------------------------------------------------------------------------------


def blocks(total):
    while total > 0:
        yield BLOCK[:min(total, len(BLOCK))]
        total -= len(BLOCK)


def upload(chain, total, chunked=False):
    crc = 0
    with connect(chain) as s, s.makefile("rb") as f:
        ask(s, "POST /upload", "Transfer-Encoding: chunked" if chunked else f"Content-Length: {total}")
        for block in blocks(total):
            crc = zlib.crc32(block, crc)
            s.sendall(b"%x\r\n%s\r\n" % (len(block), block) if chunked else block)
        if chunked:
            s.sendall(b"0\r\n\r\n")
        status, headers = head(f)
        assert status == 200
        assert f.read(int(headers["content-length"])) == b"%d %d" % (total, crc)


def download(chain, total):
    got = 0
    with connect(chain) as s, s.makefile("rb") as f:
        ask(s, f"GET /download?{total}")
        assert head(f)[0] == 200
        while size := int(f.readline(), 16):
            got += size
            while size:
                size -= len(f.read(min(size, 65536)))
            f.readline()
    assert got == total


def large(chain, total):
    warm(chain)
    chain.forget_peaks()
    for chunked in (False, True):
        upload(chain, total, chunked)
    download(chain, total)
    constant(chain)


def test_large_bodies_in_constant_memory(streams):
    large(streams, 128 * MIB)


def test_a_function_that_does_not_read_stops_its_client(streams):
    """What is under way is what sockets hold, not what the proxies could take."""
    warm(streams)
    streams.forget_peaks()
    streams.function.taken = 0
    streams.function.open.clear()
    total, sent, crc = 256 * MIB, 0, 0
    with connect(streams) as s, s.makefile("rb") as f:
        ask(s, "POST /upload", f"Content-Length: {total}")
        s.settimeout(1)
        try:
            while True:
                n = s.send(BLOCK)
                crc, sent = zlib.crc32(BLOCK[:n], crc), sent + n
                assert sent < 64 * MIB, "nobody reads, and the client may still send"
        except TimeoutError:
            pass
        constant(streams)
        s.settimeout(60)
        streams.function.open.set()
        wait_for(lambda: streams.function.taken >= sent, 30, "what was sent arrives when the function reads again")


# --- the long form -------------------------------------------------------------------------------------------------


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_dataplane_streams_long(streams):
    begun = time.monotonic()
    large(streams, 2048 * MIB)
    websocket(streams, 20_000)
    events(streams, 50_000)
    constant(streams)
    print(f"2 GiB up with a length and in chunks and down, 20,000 messages and 50,000 events in "
          f"{time.monotonic() - begun:.0f} s")
