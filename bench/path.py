"""A million real names as one order, through the real programs, from a person's file to an answer.

Each round founds an installation of its own: a real redis-server, `enforcer control`, `node` and
`gate` as processes, gRPC with mTLS, UDP, fsync to the disk under the temporary directory. Steps
are seen from outside: when files, keys, log lines and answers appear (polled every 2 ms). Peak
memory is VmHWM of each process, mapped files included. The last part has small orders come and go
while the million stays loaded. PATH_NAMES=all takes all names, PATH_ROUNDS=1 one round.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from gzip import open as gzip_open
from pathlib import Path
from statistics import quantiles

import redis

from bench import Row, data_path_or_none, median_row
from bench._installation import Installation
from bench._moments import Moments, first, last_said
from enforcer.app.demo_land import AUTHORITY, PROPOSER
from enforcer.backends.feed_format import FeedKeys
from enforcer.core.order import OrderRef
from tests.e2e.installation import ORIGIN, order_ref
from tests.e2e.programs import peaks_mb, rss_mb

NAMES = 1_000_000
ROUNDS = 3
SMALL_ORDERS = 20
SMALL_TARGETS = 1_000
SETTLING_SECONDS = 2.0
CLIENT_POLL_SECONDS = 0.01

ORDER_ID = "VN-2026-000001"
ORDER = f"""\
order_id = "{ORDER_ID}"
authority = "{AUTHORITY}"
case_reference = "bench"
decision_kind = "administrative"
category = "phishing"
territory = "VN"
reasons = "A list of a million names."
expires_at = "+30d"

[[legal_basis]]
instrument = "Law on Cyber Information Security"
provision = "Art. 16"

[appeal]
body = "Administrative court"
address = "1 Example Street"
"""


Note = Callable[[str, str, float], None]
"""``note(what, unit, value)``"""


def run() -> list[Row]:
    rounds = int(os.environ.get("PATH_ROUNDS", ROUNDS))
    found: dict[tuple[str, str], list[float]] = defaultdict(list)

    def note(what: str, unit: str, value: float) -> None:
        found[what, unit].append(value)

    for number in range(rounds):
        with Installation() as installation:
            one_round(installation, note, with_small=number == rounds - 1)
    return [median_row(what, values, unit) for (what, unit), values in found.items()]


def one_round(installation: Installation, note: Note, *, with_small: bool) -> None:
    """Take the whole path once."""
    names = write_names(installation.desk / "loose.txt", note)
    empty_mb = rss_mb(installation.programs["gate"].pid)
    client_peaks = propose(installation, note)
    order = installation.call(installation.client("auditor").get(ORDER_ID))
    time.sleep(SETTLING_SECONDS)  # the approver reads; the node checks the list meanwhile
    approve(installation, order_ref(order), names, note)
    installation.wait_until(installation.is_in_step, "all is at rest", seconds=60)
    table = installation.files.gate / "state" / "last-good.table"
    note("table", "bytes a name", table.stat().st_size / len(names))
    resident_mb = {name: rss_mb(each.pid) for name, each in installation.programs.items()}
    note("gate: resident over empty", "MB", resident_mb["gate"] - empty_mb)
    note("node: resident", "MB", resident_mb["node"])
    note("control: resident", "MB", resident_mb["control"])
    if with_small:
        small_orders(installation, note)
    stop(installation, order_ref(order), names, note)
    peaks = client_peaks | {"redis": installation.redis_peak_mb()}
    for program in installation.programs.values():
        peaks |= program.peaks_mb()
    for who, peak_mb in peaks.items():
        note(f"peak of {who}", "MB", peak_mb)


def propose(installation: Installation, note: Note) -> dict[str, float]:
    """Propose the list; return the peak MB of the client's processes."""
    begin = time.time()
    with Moments(watched(installation)) as moments:
        peaks = run_client(installation)
        proposed = time.time()
    begins, uploaded = moments["upload begins"], moments["uploaded"]
    note("client: start, read and normalise the list", "s", begins - begin)
    note("upload to the control plane", "s", uploaded - begins)
    note("check there, in its worker", "s", moments["in feed: begins"] - uploaded)
    note("list into Redis", "s", moments["in feed"] - moments["in feed: begins"])
    note("propose: judge, append, receipt, client ends", "s", proposed - moments["in feed"])
    note("all that the proposer waits for", "s", proposed - begin)
    note("node has the list, after the proposal", "s", max(moments["at node"] - proposed, 0.0))
    return peaks


def approve(installation: Installation, ref: OrderRef, names: list[str], note: Note) -> None:
    """Approve it and wait for the first blocked answer."""
    before = time.time()
    installation.approve(ref)
    approved = time.time()
    blocked = first(lambda: installation.is_blocked(names[-1]))
    compiled = last_said(installation.programs["node"].log_file, "compiled a base table")
    taken = last_said(installation.programs["gate"].log_file, "table")
    note("approve: call answered", "s", approved - before)
    note("approval answered → node has verified, folded, compiled", "s", compiled - approved)
    note("compiled → gate has checked and taken it", "s", taken - compiled)
    note("approval answered → first blocked answer", "s", blocked - approved)


def stop(installation: Installation, ref: OrderRef, names: list[str], note: Note) -> None:
    """Stop it and wait for the first answer that is not blocked."""
    before = time.time()
    installation.stop(ref)
    stopped = time.time()
    resolved = first(partial(is_open, installation, names[-1]))
    note("stop: call answered", "s", stopped - before)
    note("stop answered → first unblocked answer", "s", max(resolved - stopped, 0.0))


def is_open(installation: Installation, name: str) -> bool:
    return not installation.is_blocked(name)


def small_orders(installation: Installation, note: Note) -> None:
    """Have small orders approved and stopped while the million is in force."""
    begins, ends = [], []
    for at in range(SMALL_ORDERS):
        names = [f"n{number:04}.s{at}.example.org" for number in range(SMALL_TARGETS)]
        last = names[-1]
        ref = installation.propose(b"".join(f"exact {name}\n".encode() for name in names))
        installation.wait_until(installation.is_in_step, "the node has the list")
        installation.approve(ref)
        approved = time.time()
        begins.append(first(partial(installation.is_blocked, last)) - approved)
        installation.stop(ref)
        stopped = time.time()
        resolved = first(partial(is_open, installation, last))
        ends.append(max(resolved - stopped, 0.0))
    for what, values in (("approval", begins), ("stop", ends)):
        said = f"a million loaded: {what} of {SMALL_TARGETS} names answered → in force"
        for value in values:
            note(said, "s", value)
        note(f"… of these, the 95th percentile ({what})", "s", quantiles(values, n=20)[-1])


def watched(installation: Installation) -> dict[str, Callable[[], object]]:
    """Return the conditions that part the proposer's way into steps."""
    lists = installation.files.ledger / "lists"
    of_node = installation.files.node / "state" / "ledger" / "lists"
    there, at_node = len(whole(lists)), len(whole(of_node))
    feed = redis.Redis(unix_socket_path=str(installation.directory / "redis.sock"))
    keys = FeedKeys(ORIGIN)
    new: list[str] = []

    def is_uploaded() -> bool:
        return bool(new) or len(whole(lists)) > there

    def in_feed(key: Callable[[str], str]) -> bool:
        if not new and is_uploaded():
            new.append(max(whole(lists), key=lambda path: path.stat().st_mtime).name)
        return bool(new) and bool(feed.exists(key(new[0])))

    return {
        "upload begins": lambda: any(lists.glob(".*.tmp")) or is_uploaded(),
        "uploaded": is_uploaded,
        "in feed: begins": lambda: in_feed(lambda name: keys.chunk(name, 0)),
        "in feed": lambda: in_feed(keys.manifest),
        "at node": lambda: len(whole(of_node)) > at_node,
    }


def whole(lists: Path) -> list[Path]:
    """Return the lists of a store that are complete."""
    return [path for path in lists.glob("*") if not path.name.startswith(".")]


def run_client(installation: Installation) -> dict[str, float]:
    """Run the command that people use; return the peak MB of it and of its worker."""
    listed = installation.desk / "loose.txt"
    order = installation.desk / "order.toml"
    order.write_text(ORDER)
    config = installation.files.person(PROPOSER) / "client.toml"
    enforcer = Path(sys.executable).with_name("enforcer")
    command = [str(enforcer), "order", "propose", "--targets", str(listed), "--order", str(order)]
    command += ["--kind", "subtree", "--yes", "--leave-out", "--config", str(config)]
    log = installation.directory / "client.log"
    peaks: dict[str, float] = {}
    with log.open("wb") as output:
        client = subprocess.Popen(command, stdout=output, stderr=output)
        while client.poll() is None:
            for who, peak_mb in peaks_mb(client.pid, "client").items():
                peaks[who] = max(peaks.get(who, 0.0), peak_mb)
            time.sleep(CLIENT_POLL_SECONDS)
    if client.returncode:
        raise SystemExit(f"the proposal failed:\n{log.read_text()[-2_000:]}")
    return peaks


def write_names(path: Path, note: Note) -> list[str]:
    """Write the list as somebody might have it: in no order, some names in capitals."""
    wanted = None if os.environ.get("PATH_NAMES") == "all" else NAMES
    listed = data_path_or_none("domains", "blocklist-1.28M.txt.gz")
    if listed is None:
        names = made_up(wanted or NAMES)
        note("names, made up: no shared data here", "", len(names))
    else:
        with gzip_open(listed, "rt") as file:
            names = [line.strip() for line in file][:wanted]
        note("names", "", len(names))
    shuffled = random.Random(1).sample(names, len(names))
    lines = (name.upper() if name.startswith("x") else name for name in shuffled)
    path.write_text("".join(f"{line}\n" for line in lines))
    return names


def made_up(count: int) -> list[str]:
    """Return names of about the shape of the real ones: 18 octets, two or three labels."""
    chance = random.Random(2)
    names: set[str] = set()
    while len(names) < count:
        labels = [made_up_label(chance, 12)]
        if chance.random() < 0.4:
            labels.append(made_up_label(chance, 5))
        names.add(".".join((*labels, chance.choice(("com", "net", "info", "xyz", "ru", "top")))))
    return sorted(names)


def made_up_label(chance: random.Random, octets: int) -> str:
    count = max(1, min(63, round(chance.gauss(octets, octets / 3))))
    return "".join(chance.choices("abcdefghijklmnopqrstuvwxyz0123456789", k=count))
