# SPDX-License-Identifier: Apache-2.0
"""A strict reader of HTTP/1.1 messages, straight from the grammar of RFC 9112 and RFC 9110, that shares nothing
with the code under test: what two readers could take differently is malformed here. `messages` reads what a
client sends on one connection, `reply` what it gets."""
import re

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"
QUOTED = rb'"(?:[\t !#-\[\]-~\x80-\xff]|\\[\t -~\x80-\xff])*"'
REQUEST_LINE = re.compile(rb"(%s) ([!-~]+) HTTP/([0-9])\.([0-9])" % TOKEN)
STATUS_LINE = re.compile(rb"HTTP/1\.[01] ([1-9][0-9][0-9]) ?[^\r\n]*")  # the phrase means nothing
FIELD = re.compile(rb"(%s):([\t -~\x80-\xff]*)" % TOKEN)
HOST = re.compile(rb"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{0,5})?")
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*)([^#]*)")
CHUNK = re.compile(rb"(0*[0-9A-Fa-f]{1,16})((?:[ \t]*;[ \t]*%s(?:[ \t]*=[ \t]*(?:%s|%s))?)*)" % (TOKEN, TOKEN, QUOTED))
LINE_MAX = 64 * 1024  # a line that is longer is not waited for


class Malformed(Exception):
    """No strict reader takes this."""


class Incomplete(Exception):
    """A strict reader waits for more bytes."""


class Request:
    def __init__(self, method, target, host, headers, body, trailers, close):
        self.method, self.target, self.host, self.headers = method, target, host, headers
        self.body, self.trailers, self.close = body, trailers, close

    def all(self, name):
        return [v for k, v in self.headers if k.lower() == name]

    def get(self, name):
        return next(iter(self.all(name)), None)

    @property
    def line(self):
        return b"%s %s" % (self.method, self.target)

    def key(self):
        """What must be the same on both sides of a proxy. HTTP/1.0 need not name a host; the next hop then says localhost."""
        return self.method, self.target, self.host or b"localhost", self.body

    def __repr__(self):
        return f"<{self.line!r} {self.host!r} {self.headers} {self.body[:60]!r}>"


class _Cursor:
    def __init__(self, data, at=0):
        self.data, self.at = data, at

    def line(self, nul=False):
        """One line without its CRLF. A lone CR or LF, or NUL, is malformed as soon as it is seen."""
        end = self.data.find(b"\r\n", self.at)
        line = self.data[self.at:end] if end >= 0 else self.data[self.at:]
        whole = end >= 0
        if b"\n" in line or (b"\0" in line and not nul) or b"\r" in (line if whole else line[:-1]) or len(line) > LINE_MAX:
            raise Malformed(line[:80])
        if not whole:
            raise Incomplete(line[:80])
        self.at = end + 2
        return line

    def take(self, n):
        if len(self.data) - self.at < n:
            raise Incomplete(n)
        got = self.data[self.at:self.at + n]
        self.at += n
        return got

    def fields(self):
        found = []
        while line := self.line():
            m = FIELD.fullmatch(line)
            if not m:
                raise Malformed(line[:80])
            found.append((m[1].decode("ascii"), m[2].strip(b" \t")))
        return found

    def chunked(self):
        body = []
        while True:
            line = self.line()
            m = CHUNK.fullmatch(line)
            if not m:
                raise Malformed(line[:80])
            size = int(m[1], 16)
            if size == 0:
                return b"".join(body), self.fields()
            body.append(self.take(size))
            end = self.data[self.at:self.at + 2]
            if not b"\r\n".startswith(end):
                raise Malformed(b"chunk end")
            self.take(2)


def _listed(headers, name):
    return [e.strip(b" \t").lower() for k, v in headers if k.lower() == name for e in v.split(b",")]


def _length(headers, http10):
    """(kind, n) of the framing: ("none", 0), ("length", n) or ("chunked", 0)."""
    te = [v for k, v in headers if k.lower() == "transfer-encoding"]
    cl = [v for k, v in headers if k.lower() == "content-length"]
    if len(te) + len(cl) > 1 or (te and http10) or (te and te[0].lower() != b"chunked"):
        raise Malformed(b"framing")
    if te:
        return "chunked", 0
    if not cl:
        return "none", 0
    if not re.fullmatch(rb"[0-9]{1,19}", cl[0]) or int(cl[0]) >= 2 ** 63:
        raise Malformed(b"Content-Length")
    return "length", int(cl[0])


def _body(cur, headers, http10):
    """The body and its trailer fields."""
    kind, n = _length(headers, http10)
    return cur.chunked() if kind == "chunked" else (cur.take(n), [])


def _target(method, target, host):
    if method == b"CONNECT":
        raise Malformed(b"CONNECT is no request for an origin server")
    if b"#" in target:
        raise Malformed(b"fragment")
    if target.startswith(b"/") or (target == b"*" and method == b"OPTIONS"):
        return target, host
    m = ABSOLUTE.fullmatch(target)
    if not m or not HOST.fullmatch(m[1]):
        raise Malformed(target[:80])
    return m[2] if m[2].startswith(b"/") else b"/" + m[2], m[1]


def request(data, at=0):
    """One request → (Request, where it ends). Empty lines before it are passed over, as RFC 9112 2.2 says."""
    cur = _Cursor(data, at)
    while data[cur.at:cur.at + 2] == b"\r\n":
        cur.at += 2
    if cur.at == len(data):
        raise Incomplete(b"")
    m = REQUEST_LINE.fullmatch(line := cur.line())
    if not m or m[3] != b"1" or m[4] not in (b"0", b"1"):
        raise Malformed(line[:80])
    http10 = m[4] == b"0"
    headers = cur.fields()
    hosts = [v for k, v in headers if k.lower() == "host"]
    if len(hosts) > 1 or (not hosts and not http10) or (hosts and not HOST.fullmatch(hosts[0])):
        raise Malformed(b"Host")
    target, host = _target(m[1], m[2], hosts[0] if hosts else b"")
    expect = [v.lower() for k, v in headers if k.lower() == "expect"]
    if any(e != b"100-continue" for e in expect):
        raise Malformed(b"Expect")
    options = _listed(headers, "connection")
    close = b"close" in options or (http10 and b"keep-alive" not in options)
    body, trailers = _body(cur, headers, http10)
    return Request(m[1], target, host, headers, body, trailers, close), cur.at


def messages(data):
    """All requests that a strict reader takes from a connection → (requests, why it stopped): "end", "close",
    "incomplete" or "malformed"."""
    found, at = [], 0
    while True:
        try:
            got, at = request(data, at)
        except Malformed:
            return found, "malformed"
        except Incomplete as e:
            return found, "end" if e.args[0] == b"" else "incomplete"
        found.append(got)
        if got.close:
            return found, "close"


class Reply:
    def __init__(self, status, headers, body, cut):
        self.status, self.headers, self.body, self.cut = status, headers, body, cut

    def get(self, name):
        return next((v for k, v in self.headers if k.lower() == name), None)

    def __repr__(self):
        return f"<{self.status}{' cut' if self.cut else ''} {self.headers} {self.body[:80]!r}>"


def reply(data, at=0, method=b"GET", ended=False):
    """One answer (1xx too) → (Reply, where it ends). `ended`: no more bytes come; a body without a length ends
    there, and one with it is `cut`."""
    cur = _Cursor(data, at)
    m = STATUS_LINE.fullmatch(line := cur.line(nul=True))
    if not m:
        raise Malformed(line[:80])
    status, headers = int(m[1]), cur.fields()
    if status < 200 or status in (204, 304) or method == b"HEAD":
        return Reply(status, headers, b"", False), cur.at
    kind, _ = _length(headers, False)
    if kind == "none":
        if not ended:
            raise Incomplete(b"until close")
        return Reply(status, headers, data[cur.at:], False), len(data)
    try:
        return Reply(status, headers, _body(cur, headers, False)[0], False), cur.at
    except Incomplete:
        if not ended:
            raise
        return Reply(status, headers, data[cur.at:], True), len(data)


def replies(data, methods, ended):
    """The final answers to requests with these methods; what is not there yet is left out."""
    found, at = [], 0
    while at < len(data):
        try:
            got, at = reply(data, at, methods[len(found)] if len(found) < len(methods) else b"GET", ended)
        except Incomplete:
            if ended:
                raise Malformed(b"a cut head: " + data[at:at + 80]) from None
            break
        if got.status >= 200:
            found.append(got)
    return found
