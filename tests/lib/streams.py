# SPDX-License-Identifier: Apache-2.0
"""A function with streams for tests: a WebSocket echo, a clock of server-sent events, uploads and downloads.

    /echo          WebSocket: sends every message back
    /clock         event: N, the next one when the test says `tick` (so an event that is kept back is never followed)
    /upload        answers "BYTES CRC32" of the body; it reads nothing while `open` is cleared
    /download?N    N bytes, chunked
"""
import base64
import hashlib
import socket
import socketserver
import struct
import threading
import zlib

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
BLOCK = bytes(range(256)) * 1024  # 256 KiB


def accept_key(key):
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


def exactly(f, n):
    data = f.read(n)
    if len(data) != n:
        raise EOFError
    return data


def read_frame(f):
    """→ (opcode, payload)"""
    first, second = exactly(f, 2)
    size = second & 127
    if size >= 126:
        size, = struct.unpack(">H" if size == 126 else ">Q", exactly(f, 2 if size == 126 else 8))
    mask = exactly(f, 4) if second & 128 else None
    payload = exactly(f, size)
    if mask:
        whole = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = whole.to_bytes(size, "big")
    return first & 15, payload


def frame(opcode, payload, mask=None):
    size = len(payload)
    head = bytes([128 | opcode])
    bit = 128 if mask else 0
    if size < 126:
        head += bytes([bit | size])
    elif size < 65536:
        head += struct.pack(">BH", bit | 126, size)
    else:
        head += struct.pack(">BQ", bit | 127, size)
    if mask:
        whole = int.from_bytes(payload, "big") ^ int.from_bytes((mask * (size // 4 + 1))[:size], "big")
        payload = mask + whole.to_bytes(size, "big")
    return head + payload


class Streams(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 64

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.port = self.server_address[1]
        self.tick, self.open = threading.Semaphore(0), threading.Event()
        self.open.set()
        self.taken = 0  # bytes of uploads, so far
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def close(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that left; the test sees it at its own end


class Handler(socketserver.StreamRequestHandler):
    rbufsize = 256 * 1024

    def handle(self):
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while line := self.rfile.readline():
            target = line.split()[1].decode()
            headers = {}
            while (h := self.rfile.readline().strip()):
                name, _, value = h.partition(b":")
                headers[name.strip().lower()] = value.strip()
            path, _, query = target.partition("?")
            go_on = {"/echo": self.echo, "/clock": self.clock, "/upload": self.upload,
                     "/download": self.download}[path](headers, query)
            if not go_on:
                return

    def echo(self, headers, _):
        self.wfile.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                         b"Sec-WebSocket-Accept: " + accept_key(headers[b"sec-websocket-key"]) + b"\r\n\r\n")
        while True:
            opcode, payload = read_frame(self.rfile)
            self.wfile.write(frame(opcode, payload))
            if opcode == 8:
                return False

    def clock(self, _, count):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        for n in range(int(count)):
            event = b"data: %d\n\n" % n
            self.wfile.write(b"%x\r\n%s\r\n" % (len(event), event))
            if not self.server.tick.acquire(timeout=60):
                return False
        self.wfile.write(b"0\r\n\r\n")
        return True

    def pieces(self, headers):
        left = int(headers.get(b"content-length", 0))
        while left:
            self.server.open.wait(60)
            data = self.rfile.read1(min(left, 65536))
            if not data:
                raise EOFError
            left -= len(data)
            yield data
        while b"transfer-encoding" in headers:
            size = int(self.rfile.readline().split(b";")[0], 16)
            data = exactly(self.rfile, size)
            self.rfile.readline()
            if not size:
                return
            yield data

    def upload(self, headers, _):
        total = crc = 0
        for data in self.pieces(headers):
            total, crc = total + len(data), zlib.crc32(data, crc)
            self.server.taken += len(data)
        answer = b"%d %d" % (total, crc)
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))
        return True

    def download(self, _, count):
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        left = int(count)
        while left:
            piece = BLOCK[:min(left, len(BLOCK))]
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            left -= len(piece)
        self.wfile.write(b"0\r\n\r\n")
        return True
