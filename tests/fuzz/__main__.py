"""``python -m tests.fuzz TARGET SECONDS [SEED]``: mutants of a corpus, until the time is over.

What is tried stands in ``build/fuzz/TARGET.bin`` before it is tried, so that a crash leaves it.
"""

import mmap
import sys
import time
from pathlib import Path

from tests.fuzz.mutate import OCTETS_MAX, mutants
from tests.fuzz.targets import ALL

ROUND = 200


def main(name: str, seconds: float, seed: int) -> None:
    target, corpus = ALL[name]
    kept = Path("build", "fuzz", f"{name}.bin")
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(bytes(OCTETS_MAX + 4))
    tried = 0
    until = time.monotonic() + seconds
    with kept.open("r+b") as file, mmap.mmap(file.fileno(), OCTETS_MAX + 4) as last:
        for wire in mutants(seed, corpus()):
            last[:4] = len(wire).to_bytes(4, "big")
            last[4 : 4 + len(wire)] = wire
            target(wire)
            tried += 1
            if tried % ROUND == 0 and time.monotonic() >= until:
                break
    kept.unlink()
    print(f"{name}: {tried} mutants of seed {seed}, none of them harmful")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
