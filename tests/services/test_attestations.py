"""What nodes say is kept only when a registered node signed it about this very ledger."""

import asyncio
from dataclasses import replace

import pytest

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.keys import PrivateKey
from enforcer.core.attestation import (
    CLOCKS_APART_MS_MAX,
    Attestation,
    EffectTime,
    GateState,
    NotEnforced,
    Omission,
)
from enforcer.core.batch import PAYLOAD_BYTES_MAX
from enforcer.core.envelope import Signature, format_envelope
from enforcer.core.firewall import FirewallState
from enforcer.core.policy import DAY_MS
from enforcer.core.table import NO_LOCAL_LAYER
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    IntegrityError,
    RefusedError,
    UnavailableError,
)
from enforcer.services import kept_words
from enforcer.services.attestations import Attestations
from enforcer.services.fleet import Fleet, Outcome
from tests.control import Desk
from tests.people import ORIGIN, request_id, seal


@pytest.fixture
async def desk(tmp_path):
    async with Desk(tmp_path / "ledger") as desk:
        await desk.found()
        desk.fleet = Fleet()
        kept = KeptFiles(tmp_path / "attestations")
        desk.attestations = Attestations(desk.ledger, kept, desk.fleet)
        yield desk


def attestation(desk: Desk, **changes: object) -> Attestation:
    made = Attestation(
        ledger_origin=ORIGIN,
        request_id=request_id(),
        valid_until_ms=desk.land.now_ms + 1,
        node_id="node-1",
        t_ms=desk.land.now_ms,
        ledger_size=desk.files.size,
        root_sha256=desk.files.root.hex(),
        table_digest="0" * 64,
        local_digest=NO_LOCAL_LAYER.digest,
        gate=GateState.HOLDS_TABLE,
        firewall=FirewallState.NONE,
        pieces_digest=None,
        repairs=0,
        curtailed=(),
        omission_count=0,
        omissions=(),
        ineffective=(),
    )
    return replace(made, **changes)


def receive(desk, key=None, **changes):
    made = attestation(desk, **changes)
    return desk.attestations.receive(seal(made, key or desk.land.node.key), made.node_id)


async def test_a_node_s_word_is_kept_as_it_was_signed(desk, tmp_path):
    envelope = seal(attestation(desk), desk.land.node.key)
    for _ in range(2):  # again is no error
        await desk.attestations.receive(envelope, "node-1")
    (path,) = (tmp_path / "attestations" / "node-1").iterdir()
    assert path.read_bytes() == format_envelope(envelope)
    assert path.name == f"{desk.land.now_ms:016}-7.json"


async def test_what_a_node_had_read_earlier_is_compared_with_the_history_of_then(desk):
    root = desk.files.root_at(3).hex()
    assert (await receive(desk, ledger_size=3, root_sha256=root)).ledger_size == 3
    with pytest.raises(IntegrityError, match="another history"):
        await receive(desk, ledger_size=3)


async def test_a_node_that_has_read_more_than_there_is_shows_a_rolled_back_ledger(desk):
    with pytest.raises(ConflictError, match="has read 8 entries"):
        await receive(desk, ledger_size=8)


async def test_a_person_s_key_does_not_attest(desk):
    with pytest.raises(RefusedError, match="not that of the node"):
        await receive(desk, key=desk.land.oversight.key)


@pytest.mark.parametrize("forger", ["a stranger", "a stranger under the node's name"])
async def test_a_forged_word_is_refused_and_nothing_of_it_is_kept(desk, tmp_path, forger):
    stranger = PrivateKey.generate()
    envelope = seal(attestation(desk), stranger)
    if forger != "a stranger":
        borrowed = Signature(desk.land.node.key.key_id, envelope.signatures[0].octets)
        envelope = replace(envelope, signatures=(borrowed,))
    with pytest.raises(RefusedError, match=r"not registered|not valid"):
        await desk.attestations.receive(envelope, "node-1")
    assert not list((tmp_path / "attestations").rglob("*.json"))


async def test_a_node_attests_for_itself_alone(desk):
    with pytest.raises(RefusedError, match="not that of the node"):
        await receive(desk, node_id="node-2")


async def test_a_node_brings_its_own_word_alone(desk):
    with pytest.raises(RefusedError, match="brought the attestation"):
        await desk.attestations.receive(seal(attestation(desk), desk.land.node.key), "node-2")


async def test_the_word_of_a_node_that_no_network_reaches_is_brought_by_anybody(desk):
    """By its key it is the node's all the same, and it may be far behind what is recorded."""
    root = desk.files.root_at(6).hex()
    desk.land.now_ms += 30 * DAY_MS
    said = attestation(desk, ledger_size=6, root_sha256=root, carried=True)
    await desk.attestations.receive(seal(said, desk.land.node.key), "auditor")
    assert desk.fleet.words["node-1"].attestation == said
    with pytest.raises(RefusedError, match="not that of the node"):
        await desk.attestations.receive(seal(said, desk.land.oversight.key), "auditor")
    older = replace(said, t_ms=said.t_ms - 1)
    with pytest.raises(ConflictError):
        await desk.attestations.receive(seal(older, desk.land.node.key), "auditor")


async def test_a_word_about_another_ledger_is_refused(desk):
    with pytest.raises(RefusedError) as caught:
        await receive(desk, ledger_origin="example.org/other")
    assert caught.value.data["field"] == "ledger_origin"


async def test_a_word_of_a_time_that_is_to_come_is_refused(desk):
    now_ms = desk.ledger.now_ms()
    with pytest.raises(RefusedError, match="and it is") as caught:
        await receive(desk, t_ms=now_ms + CLOCKS_APART_MS_MAX + 1_000)
    assert caught.value.data["field"] == "t_ms"
    await receive(desk, t_ms=now_ms + CLOCKS_APART_MS_MAX)


async def test_a_word_that_would_prove_our_entries_dated_back_is_asked_for_again(desk):
    root = desk.files.root_at(6).hex()
    recorded_ms = desk.ledger.state.recorded_at_ms
    earlier = {"ledger_size": 6, "root_sha256": root}
    desk.land.now_ms += 2 * CLOCKS_APART_MS_MAX
    await receive(desk, t_ms=recorded_ms + CLOCKS_APART_MS_MAX, **earlier)
    with pytest.raises(ConflictError, match="had not read entry 6"):
        await receive(desk, t_ms=recorded_ms + CLOCKS_APART_MS_MAX + 1, **earlier)


async def test_another_payload_is_no_attestation(desk):
    with pytest.raises(InputError):
        await desk.attestations.receive(seal(desk.land.order(), desk.land.node.key), "node-1")


async def test_of_each_node_the_last_are_kept(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_words, "KEPT_PER_NODE_MAX", 3)
    for t_ms in (3, 5, 20, 100_000):
        await receive(desk, t_ms=t_ms)
    names = sorted(path.name for path in (tmp_path / "attestations" / "node-1").iterdir())
    assert [int(name.partition("-")[0]) for name in names] == [5, 20, 100_000]


async def test_of_many_nodes_fewer_are_kept_of_each(desk, tmp_path, monkeypatch):
    monkeypatch.setattr(kept_words, "KEPT_MAX", 3)
    for t_ms in (3, 5, 20, 100_000):
        await receive(desk, t_ms=t_ms)
    assert len(list((tmp_path / "attestations" / "node-1").iterdir())) == 3


async def test_an_older_word_than_the_newest_is_refused_whoever_replays_it(desk, tmp_path):
    old = seal(attestation(desk, t_ms=5), desk.land.node.key)
    await desk.attestations.receive(old, "node-1")
    newest = await receive(desk, t_ms=9)
    earlier = {"ledger_size": 3, "root_sha256": desk.files.root_at(3).hex()}
    for again in (old, seal(attestation(desk, t_ms=9, **earlier), desk.land.node.key)):
        with pytest.raises(ConflictError, match="has attested at 9"):
            await desk.attestations.receive(again, "node-1")
    assert desk.fleet.words["node-1"].attestation == newest
    assert len(list((tmp_path / "attestations" / "node-1").iterdir())) == 2


async def test_one_that_is_too_long_for_a_batch_is_refused(desk):
    curtailed = tuple(range(100))
    omissions = tuple(
        Omission(index, NotEnforced.STOPPED_UNLOGGED, "f" * 64, desk.land.now_ms)
        for index in range(100)
    )
    effects = tuple(EffectTime(2**50 + at, 2**50, 2**50) for at in range(100))
    longest = {"curtailed": curtailed, "ineffective": curtailed, "omissions": omissions}
    await receive(desk, **longest, effects=effects, omission_count=100)
    long = seal(attestation(desk), desk.land.node.key)
    too_long = replace(long, payload=long.payload + b" " * PAYLOAD_BYTES_MAX)
    with pytest.raises(InputError, match="over 32768"):
        await desk.attestations.receive(too_long, "node-1")


async def test_everything_that_is_refused_is_counted_by_why(desk):
    land, now_ms = desk.land, desk.ledger.now_ms()
    await receive(desk, t_ms=5)
    good = attestation(desk)
    tries = {
        Outcome.MALFORMED: seal(land.order(), land.node.key),
        Outcome.FOREIGN: seal(replace(good, ledger_origin="example.org/o"), land.node.key),
        Outcome.AHEAD: seal(replace(good, t_ms=now_ms + 300_000), land.node.key),
        Outcome.UNREGISTERED: seal(good, PrivateKey.generate()),
        Outcome.OLDER: seal(replace(good, t_ms=4), land.node.key),
        Outcome.ROLLED_BACK: seal(replace(good, ledger_size=99), land.node.key),
        Outcome.SPLIT_VIEW: seal(replace(good, root_sha256="0" * 64), land.node.key),
    }
    for envelope in tries.values():
        with pytest.raises(EnforcerError):
            await desk.attestations.receive(envelope, "node-1")
    with pytest.raises(RefusedError):
        await desk.attestations.receive(seal(good, land.node.key), "node-2")
    counted = dict.fromkeys((*tries, Outcome.MISNAMED, Outcome.TAKEN), 1)
    assert desk.fleet.outcomes == counted
    assert desk.fleet.split_views.keys() == {"node-1"}
    land.now_ms += 1_000
    await receive(desk)
    assert not desk.fleet.split_views, "it has read our history after all"


async def test_a_disk_that_takes_nothing_is_said_and_the_word_does_not_count(desk, tmp_path):
    (tmp_path / "attestations" / "node-1").write_text("a file where the folder belongs")
    with pytest.raises(UnavailableError):
        await receive(desk)
    assert desk.fleet.words == {}
    assert desk.fleet.outcomes == {Outcome.UNKEPT: 1}


async def test_whatever_else_there_is_to_do_goes_between_two_attestations(desk):
    """An approval's next step waits for one of them, and not for all."""
    checks = 0
    verify = desk.ledger.state.verify

    def counted(*args):
        nonlocal checks
        checks += 1
        return verify(*args)

    desk.ledger.state.verify = counted
    envelopes = [
        seal(attestation(desk, t_ms=desk.land.now_ms - 100 + at), desk.land.node.key)
        for at in range(100)
    ]
    brought = [asyncio.create_task(desk.attestations.receive(each, "node-1")) for each in envelopes]
    most = {"checked": 0, "taken": 0}
    while not all(each.done() for each in brought):
        before = {"checked": checks, "taken": desk.fleet.outcomes[Outcome.TAKEN]}
        await asyncio.sleep(0)
        after = {"checked": checks, "taken": desk.fleet.outcomes[Outcome.TAKEN]}
        most = {each: max(most[each], after[each] - before[each]) for each in most}
    assert most == {"checked": 1, "taken": 1}
    assert [each.result().t_ms for each in brought] == [
        desk.land.now_ms - 100 + at for at in range(100)
    ]


async def test_one_that_cannot_be_compared_costs_the_others_nothing(desk, monkeypatch):
    def damaged(size: int):
        raise IntegrityError("a tile is damaged", advice="Restore it.")

    good = asyncio.create_task(receive(desk))
    monkeypatch.setattr(desk.files, "root_at", damaged)
    desk.attestations._histories._roots[desk.files.size] = (desk.files.root.hex(), None)
    with pytest.raises(IntegrityError, match="damaged"):
        await receive(desk, ledger_size=3)
    assert (await good).ledger_size == desk.files.size


async def test_after_a_start_the_newest_that_was_kept_whole_is_known_again(desk, tmp_path):
    await receive(desk, t_ms=5)
    newest = await receive(desk, t_ms=9)
    folder = tmp_path / "attestations" / "node-1"
    (folder / f"{10:016}-7.json").write_bytes(b"")  # as a machine leaves it that lost its power
    (folder / f"{11:016}-7.json").write_bytes(b"garbage")
    again = Attestations(desk.ledger, KeptFiles(tmp_path / "attestations"), fleet := Fleet())
    await again.restore()
    assert fleet.words["node-1"].attestation == newest
    assert len(list(folder.iterdir())) == 2, "what nobody can read is no evidence"


async def test_what_was_kept_in_another_node_s_name_is_not_taken_up(desk, tmp_path):
    folder = tmp_path / "attestations" / "node-1"
    folder.mkdir(parents=True)
    forged = seal(attestation(desk), PrivateKey.generate())
    (folder / f"{9:016}-7.json").write_bytes(format_envelope(forged))
    await desk.attestations.restore()
    assert desk.fleet.words == {}
