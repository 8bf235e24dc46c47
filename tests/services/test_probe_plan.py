"""Which names are asked for: drawn alike, by the seed, and never from a list that is not public."""

from collections import Counter
from dataclasses import replace

import pytest

from enforcer.core.order import PublicationMode
from enforcer.services.probe_plan import plan, sample
from tests.people import LIST_SECRET, Land, hidden

TARGETS = b"exact a.example.org\nip 192.0.2.7\nnet 198.51.100.0/24\nsubtree b.example.org\n"


def planned(publication, secret=None):
    land = Land.founded()
    ref = land.in_force_order(TARGETS)
    order = land.state.orders[ref.entry_index]
    land.state.orders[ref.entry_index] = order = replace(
        order,
        payload=replace(order.payload, publication=publication(land.now_ms)),
        list_secret=secret,
        published_at_ms=land.now_ms if secret else None,
    )
    read = []

    def lists(digest):
        read.append(digest)
        return TARGETS

    found = plan(land.state, lists, order, land.now_ms, names_max=5, seed="x", operator=None)
    return found, read


@pytest.mark.parametrize(
    "publication",
    [
        lambda _: hidden(PublicationMode.RESTRICTED_TARGETS),
        lambda now_ms: hidden(PublicationMode.DELAYED, now_ms + 1),
        lambda now_ms: hidden(PublicationMode.DELAYED, now_ms - 1),
        lambda _: hidden(PublicationMode.UNSPECIFIED),
    ],
)
def test_a_list_that_is_not_public_is_not_even_read(publication):
    found, read = planned(publication)
    assert (found.names, found.unknown_because) == ((), "its list is not public")
    assert read == []


def test_a_delayed_list_is_read_from_its_publication_on():
    found, _ = planned(lambda now_ms: hidden(PublicationMode.DELAYED, now_ms + 1), LIST_SECRET)
    assert {name.text for name in found.names} == {"a.example.org", "b.example.org"}


def test_names_are_drawn_and_nothing_else():
    assert {name.text for name in sample(TARGETS, 10, "x")} == {"a.example.org", "b.example.org"}
    assert sample(b"ip 192.0.2.7\n", 10, "x") == []
    assert sample(b"", 10, "x") == []


@pytest.mark.parametrize("kinds", [["exact"], ["subtree"], ["exact", "subtree"]])
def test_every_line_is_drawn_alike(kinds, monkeypatch):
    monkeypatch.setattr("enforcer.services.probe_plan._CHUNK_BYTES", 7)
    lines = sorted(f"{kind} n{number}.{kind}.example" for kind in kinds for number in range(12))
    text = "".join(f"{line}\n" for line in lines).encode()
    drawn = Counter(sample(text, 1, f"{turn}")[0].text for turn in range(200 * len(lines)))
    assert set(drawn) == {line.partition(" ")[2] for line in lines}
    assert max(drawn.values()) < 2 * min(drawn.values())
    assert len(set(sample(text, len(lines), "all"))) == len(lines)
    assert sample(text, 5, "s") == sample(text, 5, "s")
