# SPDX-License-Identifier: Apache-2.0
"""Malformed and ambiguous messages (family A), each with the answers that are due. A row is written once and is tried
on every target. `want` has one entry per answer: a status, or a tuple of those that will do; 200 is the function's
own. `outside` is what the activator answers where it differs, because it knows no such host."""
import collections

Case = collections.namedtuple("Case", "data want outside quiet")
H = b"Host: a\r\n"
GET = b"GET / HTTP/1.1\r\n" + H + b"\r\n"
POST = b"POST / HTTP/1.1\r\n" + H
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"
CASES = {}


def row(name, want, data, outside=None, quiet=False):
    """quiet: the connection stays open without another answer, for this is only the beginning of a message."""
    assert name not in CASES, name
    CASES[name] = Case(data, want if isinstance(want, list) else [want], outside or want, quiet)


# ---- A1 to A4: how long the body is ---------------------------------------------------------------------------------

TE = (400, 501)
for name, lines in {
        "cl and te": b"Content-Length: 3\r\nTransfer-Encoding: chunked", "te and cl": b"Transfer-Encoding: chunked\r\nContent-Length: 3",
        "cl 0 and te": b"Content-Length: 0\r\nTransfer-Encoding: chunked",
        "cl and te between": b"Content-Length: 5\r\nX: y\r\nTransfer-Encoding: chunked",
        "two cl": b"Content-Length: 5\r\nContent-Length: 6", "two cl, same": b"Content-Length: 5\r\nContent-Length: 5",
        "cl list": b"Content-Length: 5,5", "cl list, spaced": b"Content-Length: 5, 5", "cl list, differing": b"Content-Length: 5,6",
        "cl comma": b"Content-Length: 5,", "cl plus": b"Content-Length: +5", "cl minus": b"Content-Length: -1", "cl minus 0": b"Content-Length: -0",
        "cl hex": b"Content-Length: 0x5", "cl underscore": b"Content-Length: 5_0", "cl junk": b"Content-Length: 5 x",
        "cl two numbers": b"Content-Length: 5 5", "cl point": b"Content-Length: 5.0", "cl exponent": b"Content-Length: 5e0",
        "cl quoted": b'Content-Length: "5"', "cl empty": b"Content-Length:", "cl blank": b"Content-Length: \t ",
        "cl 2^63": b"Content-Length: 9223372036854775808", "cl 19 nines": b"Content-Length: 9999999999999999999",
        "cl 2^64": b"Content-Length: 18446744073709551616", "cl 2^64+5": b"Content-Length: 18446744073709551621",
        "cl 20 digits": b"Content-Length: 99999999999999999999", "cl 400 digits": b"Content-Length: " + b"9" * 400,
        "cl vt": b"Content-Length: \x0b5", "cl nbsp": b"Content-Length: \xa05", "cl nul": b"Content-Length: 5\0",
        "cl space before colon": b"Content-Length : 5", "cl tab before colon": b"Content-Length\t: 5",
        "cl folded": b"Content-Length:\r\n 5", "cl dash name and te": b"Content_Length: 5\r\nContent-Length: 5\r\nContent-Length: 0"}.items():
    row(name, 400, POST + lines + b"\r\n\r\n0\r\n\r\n")
for name, lines in {
        "te twice in a line": b"Transfer-Encoding: chunked,chunked", "te twice, spaced": b"Transfer-Encoding: chunked, chunked",
        "te in two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
        "te identity then chunked, two lines": b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
        "te chunked then identity, two lines": b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
        "te empty element": b"Transfer-Encoding: ,chunked", "te empty last": b"Transfer-Encoding: chunked,", "te empty": b"Transfer-Encoding:",
        "te unknown": b"Transfer-Encoding: xchunked", "te unknown, longer": b"Transfer-Encoding: chunkedx",
        "te gzip": b"Transfer-Encoding: gzip, chunked", "te chunked, gzip": b"Transfer-Encoding: chunked, gzip",
        "te identity": b"Transfer-Encoding: identity", "te identity, chunked": b"Transfer-Encoding: identity,chunked",
        "te chunked, identity": b"Transfer-Encoding: chunked, identity", "te parameter": b"Transfer-Encoding: chunked;q=1",
        "te quoted": b'Transfer-Encoding: "chunked"', "te nbsp": b"Transfer-Encoding: \xa0chunked", "te vt": b"Transfer-Encoding: chunked\x0b",
        "te ff": b"Transfer-Encoding: \x0cchunked", "te vt before": b"Transfer-Encoding: \x0bchunked", "te del": b"Transfer-Encoding: chunked\x7f",
        "te unknown and cl": b"Transfer-Encoding: x\r\nContent-Length: 5", "te two words": b"Transfer-Encoding: chunked chunked",
        "te folded": b"Transfer-Encoding:\r\n chunked", "te space before colon": b"Transfer-Encoding : chunked"}.items():
    row(name, TE, POST + lines + b"\r\n\r\n0\r\n\r\n")
row("te in 1.0", 400, b"POST / HTTP/1.0\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
row("te in 1.0, kept", 400, b"POST / HTTP/1.0\r\n" + H + b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET)
row("te in upper case", 200, POST + b"TRANSFER-ENCODING: Chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
row("te with tabs", (200, 400), POST + b"Transfer-Encoding:\t chunked \t\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
row("cl with a tab behind", (200, 400), POST + b"Content-Length: 3\t\r\n\r\nabc")
row("cl with a tab behind, HEAD", (200, 400), b"HEAD / HTTP/1.1\r\n" + H + b"Content-Length: 3\t\r\n\r\nabc")
row("cl with zeros", 200, POST + b"Content-Length: 0005\r\n\r\nabcde")
row("cl is the largest", [], POST + b"Content-Length: 9223372036854775807\r\n\r\nabc", quiet=True)

# ---- A5, A6: chunks -------------------------------------------------------------------------------------------------

BAD_CHUNKS = {
    "empty size": b"\r\n\r\n", "only ext": b";a\r\nabc\r\n0\r\n\r\n", "0x": b"0x3\r\nabc\r\n0\r\n\r\n", "plus": b"+3\r\nabc\r\n0\r\n\r\n",
    "minus": b"-3\r\nabc\r\n0\r\n\r\n", "minus 0": b"-0\r\n\r\n", "leading space": b" 3\r\nabc\r\n0\r\n\r\n", "leading tab": b"\t3\r\nabc\r\n0\r\n\r\n",
    "trailing space": b"3 \r\nabc\r\n0\r\n\r\n", "17 digits": b"10000000000000003\r\nabc\r\n0\r\n\r\n",
    "2^64": b"ffffffffffffffff0\r\nabc\r\n0\r\n\r\n", "junk": b"3z\r\nabc\r\n0\r\n\r\n", "word": b"g\r\nabc\r\n0\r\n\r\n", "underscore": b"0_3\r\nabc\r\n0\r\n\r\n",
    "bare lf": b"3\nabc\n0\n\n", "bare lf after size": b"3\nabc\r\n0\r\n\r\n", "cr x": b"3\rXabc\r\n0\r\n\r\n", "cr cr lf": b"3\r\r\nabc\r\n0\r\n\r\n",
    "cr before ;": b"3\r;a\r\nabc\r\n0\r\n\r\n", "lf in ext": b"3;a\nb\r\nabc\r\n0\r\n\r\n", "cr in ext": b"3;a\rb\r\nabc\r\n0\r\n\r\n", "nul in ext": b"3;a\0\r\nabc\r\n0\r\n\r\n",
    "ext without name": b"3;=c\r\nabc\r\n0\r\n\r\n", "ext without value": b"3;a=\r\nabc\r\n0\r\n\r\n", "empty ext": b"3;\r\nabc\r\n0\r\n\r\n", "two ;": b"3;;a\r\nabc\r\n0\r\n\r\n",
    "lf in quoted ext": b'3;a="\n"\r\nabc\r\n0\r\n\r\n', "longer": b"3\r\nabcd\r\n0\r\n\r\n", "bad end": b"3\r\nabcXX0\r\n\r\n", "bad end, lines": b"3\r\nabc\r\nXX\r\n0\r\n\r\n",
    "lf end": b"3\r\nabc\n0\r\n\r\n", "cr end": b"3\r\nabc\r0\r\n\r\n", "no end": b"3\r\nabc0\r\n\r\n", "nul": b"3\0\r\nabc\r\n0\r\n\r\n",
    "last chunk, lf": b"0\n\r\n", "space in trailer name": b"0\r\nX : 1\r\n\r\n", "trailer without colon": b"0\r\nX\r\n\r\n",
    "trailer folded": b"0\r\nX: 1\r\n 2\r\n\r\n", "trailer, lf": b"0\r\nX: 1\n\r\n", "trailer, nul": b"0\r\nX: \0\r\n\r\n", "trailer, cr": b"0\r\nX: a\rb\r\n\r\n",
    "a request as trailer": b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"}
for name, body in BAD_CHUNKS.items():
    row(f"chunk: {name}", 400, CHUNKED + body + GET)
row("chunk: many trailers", 431, CHUNKED + b"0\r\n" + b"X: 1\r\n" * 1000 + b"\r\n")
row("chunk: long trailer", 431, CHUNKED + b"0\r\nX: " + b"a" * 40000 + b"\r\n\r\n")
row("chunk: huge extension", (400, 413, 431), CHUNKED + b"3;" + b"a" * 4_000_000 + b"\r\nabc\r\n0\r\n\r\n")
row("chunk: extensions without end", (400, 413, 431), CHUNKED + b"1;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\na\r\n" * 100_000 + b"0\r\n\r\n")
row("chunk: one byte each", 200, CHUNKED + b"1\r\na\r\n" * 3000 + b"0\r\n\r\n")
row("chunk: extensions", [200, 200], CHUNKED + b'3;a;b=c;d="x;\\"y"\r\nabc\r\n0;z=1\r\n\r\n' + GET)
row("chunk: trailers", [200, 200], CHUNKED + b"3\r\nabc\r\n0\r\nX-T: 1\r\nY-T:\r\n\r\n" + GET)
row("chunk: forbidden trailers", [200, 200], CHUNKED + b"3\r\nabc\r\n0\r\nHost: evil\r\nAuthorization: evil\r\nK-Proxy-Request: activator\r\n"
    b"K-Original-Host: evil\r\nX-Forwarded-For: evil\r\nSet-Cookie: evil\r\n\r\n" + GET)
row("chunk: close as trailer", [200, (200, 400)], CHUNKED + b"3\r\nabc\r\n0\r\nConnection: close\r\n\r\n" + GET)
for name, line in {"cl": b"Content-Length: 5", "te": b"Transfer-Encoding: gzip"}.items():
    row(f"chunk: {name} as trailer", 400, CHUNKED + b"3\r\nabc\r\n0\r\n" + line + b"\r\n\r\n" + GET)
row("chunk: 13 digits", 200, CHUNKED + b"0" * 12 + b"3\r\nabc\r\n0\r\n\r\n")
row("chunk: zeros for ever", (400, 413, 431), CHUNKED + b"0" * 1_000_000 + b"3\r\nabc\r\n0\r\n\r\n")
row("chunk: zeros before three", 200, CHUNKED + b"00000000000000003\r\nabc\r\n0\r\n\r\n")
row("chunk: a quote in a token", 400, CHUNKED + b'3;a=b"c"\r\nabc\r\n0\r\n\r\n')
row("chunk: del in a quoted value", 400, CHUNKED + b'3;a="x;\\"\x7fy"\r\nabc\r\n0\r\n\r\n' + GET)
row("chunk: zeros", 200, CHUNKED + b"0003\r\nabc\r\n0000\r\n\r\n")
row("chunk: upper case", 200, CHUNKED + b"A\r\n0123456789\r\n0\r\n\r\n")
for name, body in {"shorter": b"5\r\nabc\r\n0\r\n\r\n", "no last": b"3\r\nabc\r\n", "half a size": b"3", "half a line": b"3\r", "half an end": b"3\r\nabc\r",
                   "no trailer end": b"0\r\n", "half a trailer": b"0\r\nX: 1"}.items():
    row(f"chunk: {name}", [], CHUNKED + body, quiet=True)

# ---- A7: lines ------------------------------------------------------------------------------------------------------

G = b"GET / HTTP/1.1\r\n"
for name, lines in {
        "space before colon": b"X : 1\r\n", "tab before colon": b"X\t: 1\r\n", "obs-fold": b"X: 1\r\n  2\r\n", "obs-fold with tab": b"X: 1\r\n\t2\r\n",
        "obs-fold, empty": b"X: 1\r\n \r\n", "no colon": b"X\r\n", "empty name": b": x\r\n", "only a colon": b":\r\n", "8-bit name": b"X\xe9: 1\r\n", "space in name": b"X Y: 1\r\n",
        "bracket in name": b"X[]: 1\r\n", "slash in name": b"X/Y: 1\r\n", "quote in name": b'X"Y": 1\r\n', "nul in name": b"X\0: 1\r\n", "cr in name": b"X\r: 1\r\n", "nul in value": b"X: a\0b\r\n",
        "bare cr in value": b"X: a\rb\r\n", "bare cr, then a header": b"X: a\rContent-Length: 5\r\n", "bare lf in value": b"X: a\nb\r\n", "bare lf, then a header": b"X: a\nY: b\r\n",
        "bell in value": b"X: \x07\r\n", "del in value": b"X: \x7f\r\n", "vt in value": b"X: a\x0bb\r\n", "cr cr lf": b"X: a\r\r\n", "nel before name": b"\x85X: 1\r\n",
        "nbsp before colon": b"Content-Length\xa0: 5\r\n", "a request line": b"GET /x HTTP/1.1\r\n"}.items():
    row(f"line: {name}", 400, G + H + lines + b"\r\n")
row("line: space before the first header", 400, G + b" " + H + b"\r\n")
row("line: tab before the first header", 400, G + b"\t" + H + b"\r\n")
row("line: fold before the first header", 400, G + b" X: 1\r\n" + H + b"\r\n")
row("line: bare lf", 400, b"GET / HTTP/1.1\nHost: a\n\n")
row("line: bare lf after the first", 400, b"GET / HTTP/1.1\nHost: a\r\n\r\n")
row("line: bare lf at the end", 400, G + H + b"\n")
row("line: bare cr at the end", 400, G + H + b"\rX")
row("line: 8-bit value", 200, G + H + b"X: \xe9\x85\xa0\r\n\r\n")
row("line: padded values", 200, G + b"Host: \t a \t\r\nX:\r\nY: \t\r\n\r\n")
row("line: every token byte", 200, G + H + b"!#$%&'*+-.^_`|~09azAZ: 1\r\n\r\n")
row("line: a lone lf before", 400, b"\n" + GET)
row("line: a lone cr before", 400, b"\r" + GET)
row("line: lf and empty line before", 400, b"\n\r\n" + GET)
row("line: lone lf between", [200, 400], GET + b"\n" + GET)
row("line: empty lines before", [200, 200], b"\r\n" + GET + b"\r\n" + GET)

# ---- A8: the request line -------------------------------------------------------------------------------------------

V = (400, 505)
for name, want, line in [
        ("lf in target", 400, b"GET /\nHTTP/1.1"), ("cr in target", 400, b"GET /\rHTTP/1.1"), ("version 1.32", V, b"GET / HTTP/1.32"), ("version 256.1", V, b"GET / HTTP/256.1"),
        ("version 1.", V, b"GET / HTTP/1."), ("version 1", V, b"GET / HTTP/1"), ("version 01.1", V, b"GET / HTTP/01.1"), ("version 1,1", V, b"GET / HTTP/1,1"),
        ("version 2.0", 505, b"GET / HTTP/2.0"), ("version 3.0", V, b"GET / HTTP/3.0"), ("version 0.9", V, b"GET / HTTP/0.9"), ("version 1.2", V, b"GET / HTTP/1.2"), ("no version", V, b"GET /"),
        ("no version, space", V, b"GET / "), ("version garbage", V, b"GET / FTP/1.1"), ("version in lower case", V, b"GET / http/1.1"), ("version then junk", V, b"GET / HTTP/1.1x"),
        ("version then space", V, b"GET / HTTP/1.1 "), ("version then a word", V, b"GET / HTTP/1.1 x"), ("version minus", V, b"GET / HTTP/-1.1"), ("two spaces", 400, b"GET  / HTTP/1.1"),
        ("two spaces before the version", V, b"GET /  HTTP/1.1"), ("tab", 400, b"GET\t/ HTTP/1.1"), ("tab before the version", V, b"GET /\tHTTP/1.1"), ("space before", 400, b" GET / HTTP/1.1"),
        ("space in target", V, b"GET /a b HTTP/1.1"), ("method garbage", 400, b"G\x01T / HTTP/1.1"), ("method in lower case", 400, b"get / HTTP/1.1"),
        ("no method", 400, b"/ HTTP/1.1"), ("method with colon", 400, b"GET: / HTTP/1.1"), ("method 8 bits", 400, b"G\xc9T / HTTP/1.1"), ("long method", 400, b"G" * 5000 + b" / HTTP/1.1"),
        ("no target", 400, b"GET HTTP/1.1"), ("nul in target", 400, b"GET /\0 HTTP/1.1"), ("8-bit target", 400, b"GET /\xe9 HTTP/1.1"), ("del in target", 400, b"GET /\x7f HTTP/1.1"),
        ("fragment", 400, b"GET /a#b HTTP/1.1"), ("relative", 400, b"GET a HTTP/1.1"), ("query only", 400, b"GET ?a HTTP/1.1"), ("star", 400, b"GET * HTTP/1.1"),
        ("star and more", 400, b"OPTIONS *x HTTP/1.1"), ("ftp url", 400, b"GET ftp://a/ HTTP/1.1"), ("authority", 400, b"GET a:80 HTTP/1.1"), ("authority with path", 400, b"GET a:80/x HTTP/1.1"),
        ("url with user", 400, b"GET http://u@a/ HTTP/1.1"), ("url with user and port", 400, b"GET http://u@a:80/ HTTP/1.1"), ("url without host", 400, b"GET http:///x HTTP/1.1"),
        ("url without slashes", 400, b"GET http:a HTTP/1.1"), ("url with junk port", 400, b"GET http://a:8x/ HTTP/1.1"), ("url with backslash", 400, b"GET http://a\\b/ HTTP/1.1"),
        ("url, fragment", 400, b"GET http://a#b HTTP/1.1"), ("connect", 405, b"CONNECT a:443 HTTP/1.1"), ("connect to a path", (400, 405), b"CONNECT / HTTP/1.1"),
        ("connect to a url", (400, 405), b"CONNECT http://a/ HTTP/1.1"), ("long target", 414, b"GET /" + b"a" * 20000 + b" HTTP/1.1")]:
    row(f"start: {name}", want, line + b"\r\n" + H + b"\r\n")
row("start: h2 preface", V, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
row("start: tls hello", 400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100)
row("start: proxy protocol", 400, b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" + GET)
row("start: an answer", 400, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
row("start: empty lines for ever", (400, 431), b"\r\n" * 200_000)
row("start: 1.0", 200, b"GET / HTTP/1.0\r\n" + H + b"\r\n")
row("start: 1.0, kept", [200, 200], b"GET / HTTP/1.0\r\n" + H + b"Connection: keep-alive\r\n\r\n" + GET)
row("start: 1.0 without host", [200], b"GET / HTTP/1.0\r\n\r\n", [404])

# ---- A9: several requests -------------------------------------------------------------------------------------------

row("row: good, then no host", [200, 400], GET + b"GET / HTTP/1.1\r\n\r\n")
row("row: good, then garbage", [200, 400], GET + b"\x01\x02\x03\x04garbage\r\n\r\n")
row("row: good, bad, good", [200, 400], GET + G + H + b"X : 1\r\n\r\n" + GET)
row("row: body, then bad", [200, 400], POST + b"Content-Length: 3\r\n\r\nabc" + G + b"\r\n")
row("row: chunks, then bad", [200, 400], CHUNKED + b"3\r\nabc\r\n0\r\n\r\n" + G + b"\r\n")
row("row: body longer than its length", [200, 400], POST + b"Content-Length: 3\r\n\r\nabcd" + GET)
row("row: a request behind the body", [200, 200], POST + b"Content-Length: 3\r\n\r\nabcGET /second HTTP/1.1\r\nHost: a\r\n\r\n")
row("row: fifty", [200] * 50, b"".join(b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(50)))
row("row: bodies of all kinds", [200] * 6, (POST + b"Content-Length: 3\r\n\r\nabc" + CHUNKED + b"2\r\nde\r\n0\r\n\r\n" + GET) * 2)
row("row: after close nothing", 200, G + H + b"Connection: close\r\n\r\n" + GET)
row("row: after close nothing, 1.0", 200, b"GET / HTTP/1.0\r\n" + H + b"\r\n" + GET)
row("row: close in a list", 200, G + H + b"Connection: x, Close\r\n\r\n" + GET)
row("row: close between tabs", 200, G + H + b"Connection: x,\tclose\t\r\n\r\n" + GET)
row("row: close in a second line", 200, G + H + b"Connection: keep-alive\r\nConnection: close\r\n\r\n" + GET)
row("row: close and keep-alive, 1.0", 200, b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n" + GET)

# ---- A10: bodies where none is expected -----------------------------------------------------------------------------

for method in (b"GET", b"HEAD", b"DELETE", b"OPTIONS", b"TRACE"):
    name = method.decode()
    row(f"body: {name}", [200, 200], method + b" / HTTP/1.1\r\n" + H + b"Content-Length: 3\r\n\r\nabc" + GET)
    row(f"body: {name}, chunked", [200, 200], method + b" / HTTP/1.1\r\n" + H + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" + GET)
row("body: CL.0", [200, 200], POST + b"Content-Length: 0\r\n\r\n" + GET)
row("body: a request inside", [200, 200], POST + b"Content-Length: %d\r\n\r\n" % len(GET) + GET + GET)
row("body: GET with a request inside", [200, 200], G + H + b"Content-Length: %d\r\n\r\n" % len(GET) + GET + GET)
row("body: no length means none", [200, 200], POST + b"\r\n" + GET)
row("body: upgrade with body", [200, 200], POST + b"Upgrade: x\r\nConnection: upgrade\r\nContent-Length: 3\r\n\r\nabc" + GET)
row("body: expectation", 417, POST + b"Content-Length: 1\r\nExpect: the-worst\r\n\r\na")
row("body: two expectations", 417, POST + b"Content-Length: 1\r\nExpect: 100-continue\r\nExpect: x\r\n\r\na")
row("body: 100-continue, sent at once", [200, 200], POST + b"Content-Length: 1\r\nExpect: 100-Continue\r\n\r\na" + GET)
row("body: 100-continue without body", [200, 200], G + H + b"Expect: 100-continue\r\n\r\n" + GET)
row("body: 100-continue in 1.0", 200, b"POST / HTTP/1.0\r\n" + H + b"Content-Length: 1\r\nExpect: 100-continue\r\n\r\na")
row("body: unfinished", [], POST + b"Content-Length: 10\r\n\r\nabc", quiet=True)

# ---- A11: where it goes ---------------------------------------------------------------------------------------------

row("host: none", 400, G + b"\r\n")
row("host: two", 400, G + H + H + b"\r\n")
row("host: two, differing", 400, G + H + b"Host: b\r\n\r\n")
for name, host in {"empty": b"", "user": b"u@a", "user and port": b"u@a:80", "path": b"a/b", "space": b"a b", "tab": b"a\tb", "junk port": b"a:8x", "two ports": b"a:80:80",
                   "six digits of port": b"a:123456", "minus port": b"a:-1", "list": b"a, b", "comma": b"a,b", "8 bits": b"a\xe9", "percent": b"a%2eb", "query": b"a?b", "fragment": b"a#b",
                   "backslash": b"a\\b", "quote": b'"a"', "url": b"http://a", "only a port": b":80", "bracket": b"[::1", "empty bracket": b"[]", "word in brackets": b"[::1chunked]:80", "bracket and more": b"[::1]x", "nul": b"a\0",
                   "bracket with junk": b"[::g%eth0/]", "64 KB": b"a" * 65536, "300 bytes": b"a" * 300}.items():
    row(f"host: {name}", 400 if len(host) < 1000 else (400, 431), G + b"Host: " + host + b"\r\n\r\n")
row("host: absolute form wins", 200, b"GET http://b.example.com/x?y HTTP/1.1\r\n" + H + b"\r\n")
row("host: absolute form, query only", 200, b"GET http://b?y HTTP/1.1\r\n" + H + b"\r\n")
row("host: absolute form, bare", 200, b"GET http://b:80 HTTP/1.1\r\n" + H + b"\r\n")
row("host: absolute form, https", 200, b"GET HTTPS://b/x HTTP/1.1\r\n" + H + b"\r\n")
row("host: absolute form, no Host", 400, b"GET http://b/x HTTP/1.1\r\n\r\n")
row("host: absolute form, bad Host", 400, b"GET http://b/x HTTP/1.1\r\nHost: u@a\r\n\r\n")
row("host: options star", 200, b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n")
row("host: ipv6", 200, G + b"Host: [::1]:80\r\n\r\n", [404])
row("host: address", 200, G + b"Host: 10.0.0.1\r\n\r\n", [404])
row("host: upper case", 200, b"GET / HTTP/1.1\r\nHost: A\r\n\r\n")
row("host: trailing dot", 200, b"GET / HTTP/1.1\r\nHost: b.example.com.\r\n\r\n")
row("host: punycode", 200, b"GET / HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n\r\n", [404])
row("host: any port", 200, b"GET / HTTP/1.1\r\nHost: a:65535\r\n\r\n")
row("host: empty port", 200, b"GET / HTTP/1.1\r\nHost: a:\r\n\r\n")
for name, target in {"percent": b"/%2e%2e/%00//a", "dots": b"/../../etc/passwd", "two slashes": b"//evil.example/x", "bad percent": b"/%zz%", "encoded slash": b"/a%2fb%5cc",
                     "question marks": b"/?a?b=/../&c", "a url in the query": b"/x?u=http://u@b/#".rstrip(b"#"), "semicolons": b"/a;b=c/d"}.items():
    row(f"target: {name}", 200, b"GET " + target + b" HTTP/1.1\r\n" + H + b"\r\n")

# ---- B12: too much of it --------------------------------------------------------------------------------------------

row("much: large header", 431, G + H + b"X: " + b"a" * 40000 + b"\r\n\r\n")
row("much: large name", 431, G + H + b"X" * 40000 + b": 1\r\n\r\n")
row("much: many headers", 431, G + H + b"X: 1\r\n" * 200 + b"\r\n")
row("much: 1 MB target", 414, b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\n" + H + b"\r\n")
row("much: 100 k headers", 431, G + H + b"X: 1\r\n" * 100_000 + b"\r\n")
row("much: 1 MB of padding", 431, G + H + b"X:" + b" " * 1_000_000 + b"a\r\n\r\n")
row("much: 8 MB header", 431, G + H + b"X: " + b"a" * 8_000_000 + b"\r\n\r\n")
