"""Make public-suffixes.txt and shared-ranges.txt from what others publish.

    python rules/make.py suffixes public_suffix_list.dat > rules/public-suffixes.txt
    python rules/make.py ranges FOLDER > rules/shared-ranges.txt

FOLDER has a folder for each owner with files of one prefix a line, as in lord-alfred/ipranges.
Where they are there, the files with adjacent prefixes put together are read. Prefixes that no
order can name, and those inside another one of the same owner, are left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, collapse_addresses, ip_network
from pathlib import Path

import idna

from enforcer.core.guard_data import read_ranges, read_suffixes
from enforcer.core.special import SPECIAL_NETWORKS

OWNERS = (
    "amazon",
    "apple-proxy",
    "cloudflare",
    "digitalocean",
    "fastly",
    "github",
    "google",
    "linode",
    "microsoft",
    "oracle",
    "vultr",
)
"""Those whose addresses many unrelated customers, or their visitors, have in common."""


def suffixes(text: str) -> Iterator[str]:
    """Yield the rules of the two sections in A-labels."""
    section = None
    for line in text.splitlines():
        if line.startswith("// ===BEGIN "):
            section = "icann" if "ICANN" in line else "private"
        elif line.startswith("// ===END "):
            section = None
        elif section and line and not line.startswith("//"):
            rule = line.split()[0]
            name = rule.removeprefix("*.").removeprefix("!")
            mark = rule.removesuffix(name)
            yield f"{section} {mark}{idna.encode(name, uts46=True).decode()}"


def ranges(folder: Path) -> Iterator[str]:
    """Yield the owners' prefixes; of one that two owners name, the first owner's line."""
    taken: set[IPv4Network | IPv6Network] = set()
    for owner in OWNERS:
        files = list(folder.rglob(f"{owner}/*_merged.txt")) or list(folder.rglob(f"{owner}/ip*"))
        prefixes = [ip_network(line) for path in files for line in path.read_text().split()]
        for version in (IPv4Network, IPv6Network):
            for network in collapse_addresses(p for p in prefixes if isinstance(p, version)):
                if network not in taken and not is_special(network):
                    taken.add(network)
                    yield f"shared {network} {owner}"


def is_special(network: IPv4Network | IPv6Network) -> bool:
    """Tell whether orders for all of `network` are refused anyway."""
    return any(
        each.network.version == network.version and network.subnet_of(each.network)
        for each in SPECIAL_NETWORKS
    )


def main() -> None:
    """Write the text that the command line asks for, once it has been read back."""
    what, source = sys.argv[1], Path(sys.argv[2])
    lines = suffixes(source.read_text("utf-8")) if what == "suffixes" else ranges(source)
    text = "".join(f"{line}\n" for line in sorted(set(lines))).encode("ascii")
    (read_suffixes if what == "suffixes" else read_ranges)(text)
    sys.stdout.buffer.write(text)


if __name__ == "__main__":
    main()
