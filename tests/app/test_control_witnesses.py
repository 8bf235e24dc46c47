"""A control plane that serves, and a witness over HTTP: what a client and a node get of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import replace

import msgspec
import pytest

from enforcer.api.witness_server import witness_served
from enforcer.app.control import serving
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.memory_feed import MemoryFeedPublisher
from enforcer.config import AskedWitness, Url
from enforcer.core.cosignature import cosign, with_lines
from enforcer.core.note import Note
from enforcer.core.receipt import verify_receipt
from enforcer.errors import InputError, IntegrityError, RefusedError
from tests.control import LOG_VKEY, Installation, LandClock, founding_acts, trust_of
from tests.people import ORIGIN
from tests.waiting import until
from tests.witnesses import named, open_witness

KEYS = [PrivateKey.generate() for _ in range(3)]


class Watched(Installation):
    """An installation whose trust names three witnesses; the third is its node."""

    @property
    def trust(self):
        keys = [*KEYS[:2], self.land.node.key]
        return replace(trust_of(self.land), witnesses=named(keys, 2))

    @asynccontextmanager
    async def running(self, *ports):
        names = [key.name for key in self.trust.witnesses.keys]
        asked = tuple(
            AskedWitness(name=name, url=Url(f"http://127.0.0.1:{port}/"))
            for name, port in zip(names, ports, strict=False)
        )
        self.config = msgspec.structs.replace(self.config, witnesses=asked)
        async with serving(
            self.config,
            self.trust,
            MemoryFeedPublisher(self.feed),
            self.work,
            clock=LandClock(self.land),
        ) as self.control:
            self.land.state = self.control.ledger.state
            yield self

    def node_client(self):
        node = self.land.node
        return self.connect(self.issue(node.role, node.person_id), self.trust)


@pytest.fixture
async def witness(tmp_path):
    name = named(KEYS, 2).keys[0].name
    opened = open_witness(tmp_path / "w0", LOG_VKEY, KEYS[0], name)
    async with witness_served(opened, "127.0.0.1", 0) as port:
        yield port


async def test_an_http_witness_and_a_node_make_a_quorum(tmp_path, witness):
    async with Watched(tmp_path).running(witness) as place:
        acts = founding_acts(place.land)
        async with place.node_client() as client:
            for act in acts:
                await client.record_root_act(act)
            assert await client.witnessed() is None
            checkpoint, note = await client.checkpoint()
            key = place.trust.witnesses.keys[2]
            line = cosign(Note.parse(note).text, key, place.land.node.key.sign, 1_790_000_000)
            await client.add_cosignature(with_lines(Note.parse(note), [line]).format())
            await until(lambda: place.feed.cosigned is not None)
            assert await client.witnessed() == checkpoint
            again = await client.record_root_act(acts[0])
            assert again.is_repeated
            verify_receipt(
                again.receipt, again.leaf, ORIGIN, LOG_VKEY, verify, place.trust.witnesses
            )


async def test_a_cosignature_that_does_not_count_is_refused_over_the_wire(tmp_path):
    async with Watched(tmp_path).running() as place:
        await place.found()
        async with place.node_client() as client:
            _, note = await client.checkpoint()
            with pytest.raises(RefusedError, match="no witness"):
                await client.add_cosignature(note)
            stranger = PrivateKey.generate()
            key = place.trust.witnesses.keys[2]
            forged = cosign(Note.parse(note).text, key, stranger.sign, 1)
            with pytest.raises(IntegrityError):
                await client.add_cosignature(with_lines(Note.parse(note), [forged]).format())
            assert await client.witnessed() is None


async def test_a_witness_that_the_trust_file_does_not_name_is_not_asked(tmp_path):
    place = Watched(tmp_path)
    place.config = msgspec.structs.replace(
        place.config, witnesses=(AskedWitness(name="stranger", url=Url("http://192.0.2.1/")),)
    )
    with pytest.raises(InputError, match="stranger"):
        async with serving(place.config, place.trust, MemoryFeedPublisher(place.feed), place.work):
            pass


@pytest.mark.parametrize(
    "text", ["", "ftp://a/", "http://", "http://a/?q", "http://u:p@a/", "a", "http://a/#x"]
)
def test_a_url_that_is_none_is_refused(text):
    with pytest.raises(ValueError, match="http"):
        Url(text)
