# SPDX-License-Identifier: Apache-2.0
"""The CloudEvents SDKs of Python, Node and Go against a real lull-broker and redis-server: what any of them sends, in any
mode that it has, arrives at all of them, in binary and in structured form, and so do their replies."""
import base64
import datetime
import urllib.parse

import pytest
from broker_world import World
from conftest import binary, state_directory
from lull_client import wait_for
from sdk_peers import LANGUAGES, Peer

pytestmark = [pytest.mark.clients, pytest.mark.timeout(1800)]
MODES = ("binary", "structured", "batch")
FORMS = ("binary", "json")  # of the delivery
JSON, TEXT = {"greeting": "Grüße, 世界 😀", "list": [1, 2.5, None, True], "big": 9007199254740991}, "a line\nof tëxt ☃"
NAMED = {"subject": "orders/4711?x=1&y=%2F", "dataschema": "https://example.com/schema#v1", "time": "2026-03-29T01:59:59.123Z",
         "text1": 'say "hi", 100% + sure', "number": 2147483647, "negative": -7, "yes": True, "partitionkey": "a b"}
UNICODE = {"subject": "Bestellung/Ä/世界/😀", "city": "Zürich — 東京"}
CASES = {
    "json": {"attributes": {"datacontenttype": "application/json", **NAMED}, "json": JSON},
    "text": {"attributes": {"datacontenttype": "text/plain", "time": "2026-12-31T23:59:59.5+05:30"}, "text": TEXT},
    "bytes": {"attributes": {"datacontenttype": "application/octet-stream"}, "bytes": base64.b64encode(bytes(range(256)) * 4).decode()},
    "empty": {"attributes": {"subject": "nothing in it"}},
    "unicode": {"attributes": {"datacontenttype": "application/json", **UNICODE}, "json": {"a": 1}},
    "ask-binary": {"attributes": {"datacontenttype": "application/json", "ask": "binary"}, "json": {"q": 1}},
    "ask-structured": {"attributes": {"datacontenttype": "application/json", "ask": "structured"}, "json": {"q": 2}},
}
# What an SDK does not do. The HTTP binding wants header values percent-encoded; only Python's SDK does that, and only it
# decodes them. Node cannot put such text into a header at all.
ENCODES = {"python"}
CANNOT_SEND = {("node", "binary", "unicode")}
SAYS_TRUE = {("python", "binary")}  # "True", where the specification has "true"
# Node's SDK and Python's give every event a time; Node's gives every binary message a content type too.
ADDS = {"node": {"time", "datacontenttype"}, "python": {"time"}}


def name_of(sender, mode, case):
    return f"{sender}.{mode}.{case}"


@pytest.fixture(scope="module")
def absent():
    """Why a language is not there; the others are tried without it."""
    return {}


@pytest.fixture(scope="module")
def peers(absent):
    found = {}
    try:
        for name in LANGUAGES:
            try:
                found[name] = Peer(name)
            except pytest.skip.Exception as why:
                absent[name] = str(why)
        yield found
    finally:
        for peer in found.values():
            peer.close()


@pytest.fixture(scope="module")
def world(peers):
    """Each receiver has two triggers, one for each form, and two more that take the replies of all."""
    with state_directory() as home:
        w = World(home, binary("lull-broker"), fsync="no")
        try:
            w.broker()
            names = []
            for name, peer in peers.items():
                for form in FORMS:
                    for what, filters in (("sent", [{"not": {"exact": {"type": "reply"}}}]), ("replies", [{"exact": {"type": "reply"}}])):
                        names.append(f"{name}-{form}-{what}")
                        w.trigger(names[-1], f"{peer.url}/{form}/{what}", filters=filters,
                                  delivery={"format": form, "retry": 1, "backoffDelay": "PT0.1S"})
            w.start().known(*names)
            yield w
        finally:
            w.close()


@pytest.fixture(scope="module")
def sent(world, peers):
    """Sends everything from everywhere. → {id: (sender, mode, case)}"""
    url = f"http://127.0.0.1:{world.ports['w1']}/default/default"
    everything = {}
    for sender, peer in peers.items():
        for mode in MODES:
            events = {}
            for case, event in CASES.items():
                if (sender, mode, case) in CANNOT_SEND:
                    continue
                ident = name_of(sender, mode, case)
                everything[ident] = (sender, mode, case)
                events[case] = {**event, "attributes": {"id": ident, "source": f"/{sender}", "type": f"com.example.{case}",
                                                        **event["attributes"]}}
            if mode == "batch":
                assert peer.send(url, mode, *events.values()) == {"sent": 202}, (sender, mode)
            else:
                for case, event in events.items():
                    assert peer.send(url, mode, event) == {"sent": 202}, (sender, mode, case)
    return everything


def told(peer, form, what, n):
    """What a receiver said of the events that came to it on one path, by id; fails when one could not be read."""
    path = f"/{form}/{what}"

    def all_there():
        assert not [t for t in peer.told if "why" in t], [t for t in peer.told if "why" in t]
        return len({t["attributes"]["id"] for t in list(peer.told) if t["path"] == path}) >= n

    wait_for(all_there, 120, f"{n} events at {peer.name}{path}; there are {[t['path'] for t in peer.told].count(path)}")
    return {t["attributes"]["id"]: t for t in peer.told if t["path"] == path}


def moment(text):
    return datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))


def encoded(value):
    return urllib.parse.quote(value, safe="".join(c for c in map(chr, range(0x21, 0x7f)) if c not in '"%'))


def want_value(value, sender, mode, receiver, form):
    """The text of an attribute as this receiver's SDK must give it."""
    text = str(value)
    if isinstance(value, bool) and (sender, mode) not in SAYS_TRUE:
        text = text.lower()
    if mode == "binary" and sender not in ENCODES:
        # Its header goes on as it came; who decodes headers, as we do for the other form, decodes a "%2F" in it.
        return text if form == "binary" and receiver not in ENCODES else urllib.parse.unquote(text)
    return encoded(text) if form == "binary" and receiver not in ENCODES else text


def check(got, ident, sender, mode, case, receiver, form):
    want, attributes = CASES[case], dict(got["attributes"])
    where = f"{ident} at {receiver} in {form}"
    assert attributes.pop("specversion") == "1.0" and attributes.pop("id") == ident, where
    assert attributes.pop("source") == f"/{sender}" and attributes.pop("type") == f"com.example.{case}", where
    assert attributes.pop("knativearrivaltime").endswith("Z"), where
    for name, value in want["attributes"].items():
        have = attributes.pop(name, None)
        if name == "time":
            assert moment(have) == moment(value), where
        elif name == "datacontenttype":
            assert have.split(";")[0] == value, where
        else:
            assert have == want_value(value, sender, mode, receiver, form), (where, name, have)
    assert set(attributes) <= ADDS.get(sender, set()) | ADDS.get(receiver, set()), (where, attributes)
    for kind in ("json", "text", "bytes"):
        assert got.get(kind) == want.get(kind), (where, kind)


@pytest.fixture(params=LANGUAGES)
def receiver(request, peers, absent):
    if request.param in absent:
        pytest.skip(absent[request.param])
    return request.param


@pytest.mark.parametrize("form", FORMS)
def test_what_all_sent_arrives_as_it_was(world, peers, sent, receiver, form):
    found = told(peers[receiver], form, "sent", len(sent))
    assert set(found) == set(sent)
    for ident, (sender, mode, case) in sent.items():
        check(found[ident], ident, sender, mode, case, receiver, form)


def test_replies_of_all_arrive(world, peers, sent, receiver):
    """Each asking event was delivered twice to each program, and each answered in the mode that was asked for."""
    asking = [ident for ident, (_, _, case) in sent.items() if case.startswith("ask-")]
    want = {f"{peer}.{ident}": (peer, ident) for peer in peers for ident in asking}
    for form in FORMS:
        found = told(peers[receiver], form, "replies", len(want))
        assert set(found) == set(want)
        for ident, (peer, of) in want.items():
            got = found[ident]["attributes"]
            assert (got["source"], got["type"], got["subject"]) == (f"/{peer}", "reply", of) and found[ident]["json"] == {"by": peer}
            assert "knativebrokerttl" not in got


def test_nothing_failed(world, peers, sent):
    for form in FORMS:
        for peer in peers.values():
            told(peer, form, "sent", len(sent))
    state = world.state()["brokers"][0]["triggers"]
    assert len(state) == 4 * len(peers)
    assert world.metric("failed_total") == 0 and world.metric("refused_invalid_total") == 0
