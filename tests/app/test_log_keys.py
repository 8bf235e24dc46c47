"""Another log key: recorded by the roots, signed beside the former one, believed by everybody."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from enforcer.app.audit import audit_directory, check_receipt
from enforcer.app.log_keys import LogKeys
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.tiles import TileLedger
from enforcer.core.checkpoint import Checkpoint, open_checkpoint
from enforcer.core.key import LogKeyRotated
from enforcer.core.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.policy import DAY_MS
from enforcer.core.trust import Trust
from enforcer.errors import InputError, IntegrityError, RefusedError
from enforcer.ports import FeedUpdate
from enforcer.services.findings import Code
from enforcer.services.replica import Replica
from tests.control import LOG_KEY, LOG_VKEY, Installation, founding_acts, trust_of
from tests.people import ORIGIN, Land, request_id, seal


@pytest.fixture
def keys(tmp_path):
    """Return the files of the log's key and of the one to come."""
    files = [tmp_path / "log.key", tmp_path / "new-log.key"]
    LOG_KEY.save(files[0])
    PrivateKey.generate().save(files[1])
    return files


def vkey_in(path):
    return VerifierKey(ORIGIN, PrivateKey.load(path).public_key)


def note_over(land: Land, seal_with) -> bytes:
    tree = CompactRange.over(map(leaf_hash, land.leaves))
    return seal_with(Checkpoint(ORIGIN, len(land.leaves), tree.root()))


def written(path, land: Land, seal_with, vkey: VerifierKey):
    with TileLedger.open(path, origin=ORIGIN, vkey=vkey, verify=verify, writer=True) as ledger:
        ledger.append(land.leaves[ledger.size :], seal_with)
        ledger.lists.put(b"exact bad.example.org\n")
        return ledger.receipt(0).format()


def test_while_two_keys_sign_the_former_and_the_new_trust_file_believe_one_checkpoint(keys):
    trust = trust_of(Land())
    both = LogKeys(trust, keys)
    note = both(Checkpoint(ORIGIN, 0, EMPTY_ROOT))
    for path in keys:
        assert open_checkpoint(note, ORIGIN, vkey_in(path), verify).size == 0
    turned = LogKeys(replace(trust, log_vkey=vkey_in(keys[1]).text), keys)
    assert turned.vkeys == both.vkeys


def test_without_the_key_that_the_roots_named_nothing_is_served(keys):
    land = Land.founded()
    alone = LogKeys(trust_of(land), keys[:1])
    alone.check(land.state)
    assert land.rotate_log_key(vkey_in(keys[1]).text, *land.roots[:2]).is_effective
    with pytest.raises(InputError, match="put another log key in force"):
        alone.check(land.state)
    LogKeys(trust_of(land), keys).check(land.state)


def test_a_node_that_read_the_roots_act_asks_for_the_new_keys_line(keys, tmp_path):
    land = Land.founded()
    trust = trust_of(land)
    former, both = LogKeys(trust, keys[:1]), LogKeys(trust, keys)
    with TileLedger.open(
        tmp_path / "copy", origin=ORIGIN, vkey=LOG_VKEY, verify=verify, writer=True
    ) as copy:
        replica = Replica(trust, verify, copy)

        def take(seal_with) -> None:
            leaves = tuple(land.leaves[replica.size :])
            update = FeedUpdate(replica.size, leaves, note_over(land, seal_with))
            replica.accept(replica.append(replica.prove(update)))

        land.rotate_log_key(vkey_in(keys[1]).text, *land.roots[:2])
        take(both)
        land.propose()
        with pytest.raises(IntegrityError, match="not signed by"):
            take(former)
        take(both)
        assert replica.size == len(land.leaves)


def test_the_audit_asks_for_the_new_keys_line_and_takes_what_was_kept_from_before(keys, tmp_path):
    land = Land.founded()
    trust = trust_of(land)
    path = tmp_path / "ledger"
    former, both = LogKeys(trust, keys[:1]), LogKeys(trust, keys)
    receipt = tmp_path / "kept.tlog-proof"
    receipt.write_bytes(written(path, land, former, LOG_VKEY))
    kept = tmp_path / "kept-checkpoint"
    kept.write_bytes(note_over(land, former))
    entry = tmp_path / "entry"
    entry.write_bytes(land.leaves[0])

    land.rotate_log_key(vkey_in(keys[1]).text, *land.roots[:2])
    later = Trust(
        ORIGIN, vkey_in(keys[1]).text, land.state.roots, former_log_vkeys=(trust.log_vkey,)
    )
    written(path, land, both, LOG_VKEY)
    for each in (trust, later):
        _, findings = audit_directory(path, each, as_of_ms=land.now_ms, earlier=[kept])
        assert {finding.code for finding in findings} == {Code.NOT_ATTESTED}
        assert check_receipt(receipt, entry, each).index == 0

    land.propose(b"exact bad.example.org\n")
    written(path, land, former, LOG_VKEY)
    _, findings = audit_directory(path, trust, as_of_ms=land.now_ms)
    (found,) = [finding for finding in findings if finding.code is Code.LOG_KEY]
    assert found.index == land.state.log_key_index


async def test_the_control_plane_takes_the_act_only_when_it_has_the_key(tmp_path):
    installation = Installation(tmp_path)
    new = tmp_path / "second.key"
    PrivateKey.generate().save(new)

    def rotation():
        land = installation.land
        payload = LogKeyRotated(
            ledger_origin=ORIGIN,
            request_id=request_id(),
            valid_until_ms=land.now_ms + DAY_MS,
            log_vkey=vkey_in(new).text,
            reason_sha256=None,
        )
        return seal(payload, *land.roots[:2])

    async with installation:
        for act in founding_acts(installation.land):
            await installation.control.ledger.record(act)
        async with installation.client(installation.land.oversight) as client:
            with pytest.raises(RefusedError, match="private half"):
                await client.record_root_act(rotation())
    installation.config = msgspec.structs.replace(installation.config, second_log_key_file=new)
    async with installation:
        async with installation.client(installation.land.oversight) as client:
            await client.record_root_act(rotation())
        note = installation.control.ledger.files.checkpoint_note
        for vkey in (LOG_VKEY, vkey_in(new)):
            open_checkpoint(note, ORIGIN, vkey, verify)
    installation.config = msgspec.structs.replace(installation.config, second_log_key_file=None)
    with pytest.raises(InputError, match="put another log key in force"):
        async with installation:
            pass
