"""Run the gate beside its peers: `python -m bench.peers`, or `make bench-peers`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import bench.peers
from bench._report import write
from bench.peers.bind import Bind
from bench.peers.dnsdist import Dnsdist, DnsdistCdb
from bench.peers.floor import Floor
from bench.peers.gate import Gate
from bench.peers.knot_resolver import KnotResolver
from bench.peers.plan import QUICK, WHOLE
from bench.peers.progress import note
from bench.peers.recursor import Recursor
from bench.peers.run import measured
from bench.peers.server import Server, search_path
from bench.peers.unbound import Unbound

PEERS: tuple[type[Server], ...] = (Dnsdist, DnsdistCdb, Unbound, Recursor, KnotResolver, Bind)
ALL: tuple[type[Server], ...] = (Floor, Gate, *PEERS)
COMMAND = "make bench-peers ARGS=--write"
LOAD_DOUBT = 0.5


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.peers", description=__doc__)
    every = [kind.name for kind in ALL]
    parser.add_argument("names", nargs="*", metavar="SERVER", help=", ".join(every))
    parser.add_argument("--quick", action="store_true", help="one short round, without scale")
    parser.add_argument("--write", action="store_true", help="update bench/RESULTS.md")
    parser.add_argument("--keep", action="store_true", help="keep configurations and logs")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(every))
    if unknown:
        parser.error(f"no server {', '.join(unknown)}; there are {', '.join(every)}")
    plan = QUICK if arguments.quick else WHOLE
    kinds = [kind for kind in ALL if kind.name in (arguments.names or every)]
    refuse_missing(kinds)
    folder = Path(tempfile.mkdtemp(prefix="enforcer-peers-"))
    folder.chmod(0o711)  # servers that give up root reach their own folder
    try:
        body, is_whole = measured(folder, kinds, PEERS, plan)
    finally:
        if arguments.keep:
            note(f"kept: {folder}")
        else:
            shutil.rmtree(folder)
    print(body)
    if arguments.write and is_whole:
        write("peers", bench.peers.__doc__ or "", body, COMMAND)
    if not is_whole:
        sys.exit("some figures were refused; nothing was written")


def refuse_missing(kinds: Sequence[type[Server]]) -> None:
    """Raise SystemExit with the line that installs what is missing, or for want of a core."""
    missing = [kind.package or kind.program for kind in kinds if not kind.is_installed()]
    if shutil.which("dnsperf", path=search_path()) is None:
        missing.append("dnsperf")
    if missing:
        packages = " ".join(sorted(set(missing)))
        raise SystemExit(f"missing: apt-get install --no-install-recommends {packages}")
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("there is one core only; this needs one to serve and one to ask")
    if os.getloadavg()[0] > LOAD_DOUBT:
        note(f"the machine is not quiet: load {os.getloadavg()[0]:.1f}; times will be too long")


if __name__ == "__main__":
    main()
