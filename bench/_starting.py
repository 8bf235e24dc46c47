"""A process of its own for `bench.start`: one way to come to know a ledger, timed.

`python -m bench._starting WAY FOLDER [REDIS]` prints its seconds, processor time and peak memory as
JSON. WAY is `cold` (from the feed, onto an empty disk), `restart`, `again` (without what was kept)
or `floor`: hashing every leaf and verifying every signature, and nothing else.
"""

from __future__ import annotations

import asyncio
import json
import sys
from base64 import b64decode
from pathlib import Path
from time import perf_counter, process_time

from bench import peak_memory_mb
from enforcer.backends.fold_file import FoldFile
from enforcer.backends.keys import PrivateKey, verify
from enforcer.backends.redis_source import RedisFeedSource
from enforcer.backends.tiles import TileLedger
from enforcer.config import read_trust
from enforcer.core.entry import parse
from enforcer.core.envelope import key_id
from enforcer.core.merkle import CompactRange, leaf_hash
from enforcer.core.note import VerifierKey
from enforcer.core.trust import Trust
from enforcer.services.kept_fold import FoldKeeper
from enforcer.services.replica import Replica


def opened(path: Path, trust: Trust) -> TileLedger:
    vkey = VerifierKey.parse(trust.log_vkey)
    return TileLedger.open(path, origin=trust.origin, vkey=vkey, verify=verify, writer=True)


async def cold(replica: Replica, source: RedisFeedSource) -> None:
    """Read all that the feed has, as a node's follower does."""
    while (update := await source.next(replica.next_index, 1)) is not None:
        replica.accept(replica.append(replica.prove(update)))
        keep(replica, is_at_rest=False)
    keep(replica, is_at_rest=True)
    await source.close()


def keep(replica: Replica, *, is_at_rest: bool) -> None:
    """Write what a node writes in the background."""
    assert replica.keeper is not None
    replica.keep(is_at_rest=is_at_rest)
    replica.keeper.write()


def floor(path: Path, trust: Trust) -> tuple[float, float]:
    """Hash all leaves and verify as many signatures; what else it takes is not timed."""
    with opened(path, trust) as ledger:
        leaves = list(ledger.entries(0, ledger.size))
    tree = CompactRange()
    began, began_cpu = perf_counter(), process_time()
    for leaf in leaves:
        tree.append(leaf_hash(leaf))
    seconds, cpu = perf_counter() - began, process_time() - began_cpu
    signed = []
    keys: dict[str, bytes] = {}
    for leaf in leaves:
        envelope = parse(leaf).envelope
        payload = json.loads(b64decode(json.loads(leaf)["envelope"]["payload"]))
        if "public_key" in payload:
            public_key = bytes.fromhex(payload["public_key"])
            keys[key_id(public_key)] = public_key
        signed += [(each.key_id, envelope.message, each.octets) for each in envelope.signatures]
    keys |= {key_id(key): key for key in trust.roots.public_keys}
    began, began_cpu = perf_counter(), process_time()
    for signer, message, octets in signed:
        assert verify(keys[signer], message, octets)
    return seconds + perf_counter() - began, cpu + process_time() - began_cpu


def main(way: str, folder: Path, redis: str = "") -> None:
    trust = read_trust(folder / "trust.toml")
    if way == "floor":
        seconds, cpu_seconds = floor(folder / "ledger", trust)
    else:
        key = PrivateKey.load(folder / "node.key")
        store = FoldFile(folder / "fold", trust, key, verify)
        began, began_cpu = perf_counter(), process_time()
        with opened(folder / "node", trust) as ledger:
            keeper = FoldKeeper(store) if way != "again" else None
            replica = Replica(trust, verify, ledger, keeper)
            replica.restore()
            if way == "cold":
                asyncio.run(cold(replica, RedisFeedSource(redis, trust.origin)))
            assert replica.size > 0
        seconds, cpu_seconds = perf_counter() - began, process_time() - began_cpu
    said = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak_memory_mb()}
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
