"""A small signed hierarchy of zones, and Unbounds on loopback that serve and validate it.

    .                       signed; its keys are the trust anchor
    example.                signed
    signed.example.         signed, with hosts, and the signed zone cut.signed.example. below
    plain.example.          not signed, with hosts
    fraud.example.          the same

Only names of this file exist in it. `Unbound` runs one resolver in a folder of its own.
"""

from __future__ import annotations

import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

import dns.dnssec
import dns.dnssecalgs
import dns.message
import dns.name
import dns.query
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.DNSKEY
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

from tests.ports import HeldPort
from tests.waiting import WAIT_SECONDS

DAY: Final = 86_400  # seconds
ALGORITHM: Final = dns.dnssecalgs.Algorithm.ECDSAP256SHA256
HOSTS: Final = """
@ 300 SOA ns hostmaster 1 3600 600 86400 30
@ 300 NS ns
@ 300 MX 10 mail
ns 300 A 127.0.0.1
mail 300 A 192.0.2.25
www 300 A 192.0.2.1
www 300 AAAA 2001:db8::1
www 300 HTTPS 1 . alpn="h2,h3" ipv4hint="192.0.2.1"
alias 300 CNAME www
toevil 300 CNAME www.evil
moved 300 DNAME sub
a.sub 300 A 192.0.2.4
b.sub 300 AAAA 2001:db8::4
*.wild 300 TXT "wild"
*.wild 300 A 192.0.2.5
_svc._tcp 300 SRV 1 2 53 www
txt 300 TXT "one" "two"
many 300 TXT "{long}"
evil 300 A 192.0.2.66
evil 300 AAAA 2001:db8::66
evil 300 HTTPS 1 . alpn="h2"
www.evil 300 A 192.0.2.66
host 300 A 192.0.2.67
host 300 HTTPS 1 . alpn="h2"
www.host 300 A 192.0.2.68
open 300 A 192.0.2.69
time.open 300 A 192.0.2.70
""".replace("{long}", '" "'.join("x" * 200 for _ in range(9)))
ZONES: Final = {
    ".": ". 300 SOA ns.example. hostmaster.example. 1 3600 600 86400 30\n. 300 NS ns.example.\n"
    "ns.example. 300 A 127.0.0.1\n",
    "example.": "@ 300 SOA ns hostmaster 1 3600 600 86400 30\n@ 300 NS ns\nns 300 A 127.0.0.1\n"
    "plain 300 NS ns.plain\nns.plain 300 A 127.0.0.1\n"
    "fraud 300 NS ns.fraud\nns.fraud 300 A 127.0.0.1\n",
    "signed.example.": HOSTS,
    "cut.signed.example.": HOSTS,
    "plain.example.": HOSTS,
    "fraud.example.": HOSTS,
}
UNSIGNED: Final = frozenset({"plain.example.", "fraud.example."})
TARGETS: Final = b"".join(
    f"{kind} {name}.{zone}example\n".encode()
    for kind, name in (("exact", "host"), ("subtree", "evil"), ("subtree", "open"))
    for zone in ("plain.", "signed.")
).replace(b"subtree open.plain", b"subtree fraud.example\nsubtree open.plain")
CORE: Final = b"exact time.open.plain.example\nexact time.open.signed.example\n"


@dataclass(frozen=True)
class Hierarchy:
    """The zones' files by origin, and the trust anchor as a zone file's line."""

    files: dict[str, Path]
    anchor: str


def make_hierarchy(folder: Path) -> Hierarchy:
    """Sign every zone, children before parents, and write them as files into `folder`."""
    files, anchor = {}, ""
    delegations: dict[str, list[str]] = {origin: [] for origin in ZONES}
    for origin in sorted(ZONES, key=len, reverse=True):
        text = ZONES[origin] + "".join(delegations[origin])
        zone = dns.zone.from_text(text, origin, relativize=False)
        parent = parent_of(origin)
        if origin not in UNSIGNED:
            private, key = keys()
            dns.dnssec.sign_zone(zone, keys=[(private, key)], lifetime=30 * DAY)
            ds = dns.dnssec.make_ds(zone.origin, key, "SHA256").to_text()
            anchor = f"{origin} DS {ds}"
            if parent is not None:
                delegations[parent] += [f"{origin} 300 DS {ds}\n"]
        if parent is not None and origin not in UNSIGNED:
            delegations[parent] += [f"{origin} 300 NS ns.{origin}\nns.{origin} 300 A 127.0.0.1\n"]
        files[origin] = folder / f"{origin.rstrip('.') or 'root'}.zone"
        zone.to_file(str(files[origin]), relativize=False, want_origin=True)
    return Hierarchy(files, anchor)


def parent_of(origin: str) -> str | None:
    """Return the zone that delegates `origin`."""
    above = [each for each in ZONES if each != origin and f".{origin}".endswith(f".{each}")]
    return max(above, key=len, default=None if origin == "." else ".")


def keys() -> tuple[ec.EllipticCurvePrivateKey, dns.rdtypes.ANY.DNSKEY.DNSKEY]:
    """Return a key that signs both keys and data (a CSK), private and public."""
    private = ec.generate_private_key(ec.SECP256R1())
    return private, dns.dnssec.make_dnskey(private.public_key(), ALGORITHM, flags=257)


class Unbound:
    """One Unbound on loopback; use it as a context manager."""

    EXECUTABLE: Final = shutil.which("unbound", path="/usr/sbin:/usr/bin:/usr/local/sbin")

    def __init__(self, folder: Path, anchor: str, *clauses: str, server: str = "") -> None:
        self._port = HeldPort()
        self.place = self._port.place
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "unbound.conf"
        self._log = folder / "unbound.log"
        self._config.write_text(
            f"""server:
    interface: 127.0.0.1
    port: {self.place[1]}
    do-daemonize: no
    use-syslog: no
    logfile: ""
    verbosity: 1
    val-log-level: 2
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: ""
    do-not-query-localhost: no
    do-ip6: no
    module-config: "validator iterator"
    trust-anchor: "{anchor}"
    local-zone: "example." nodefault
    ede: yes
    num-threads: 1
{server}
remote-control:
    control-enable: no
"""
            + "\n".join(clauses)
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        assert self.EXECUTABLE is not None
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [self.EXECUTABLE, "-c", str(self._config)],
                env={},  # not what a sanitised gate is run with
                stdout=log,
                stderr=log,
            )
        until = time.monotonic() + WAIT_SECONDS
        query = dns.message.make_query("version.bind", "TXT", "CH")
        while True:
            with suppress(dns.exception.Timeout, OSError):
                dns.query.udp(query, self.place[0], 0.5, self.place[1])
                return self
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < until, self.log()
            time.sleep(0.02)

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.terminate()
        try:
            self._process.wait(WAIT_SECONDS)
        finally:
            self._process.kill()
            self._process.wait()
            self._port.close()

    def log(self) -> str:
        return self._log.read_text()


def resolver(folder: Path, hierarchy: Hierarchy) -> Unbound:
    """Return the resolver that the gate asks: it holds all zones and validates them."""
    zones = [
        f'auth-zone:\n    name: "{origin}"\n    zonefile: "{path}"\n'
        "    for-upstream: yes\n    for-downstream: no\n    fallback-enabled: no\n"
        for origin, path in hierarchy.files.items()
    ]
    return Unbound(folder, hierarchy.anchor, *zones)


def behind(folder: Path, hierarchy: Hierarchy, gate: tuple[str, int], server: str = "") -> Unbound:
    """Return a resolver that asks the gate alone, validates what it says, and minimises names."""
    forward = f'forward-zone:\n    name: "."\n    forward-addr: {gate[0]}@{gate[1]}\n'
    return Unbound(
        folder,
        hierarchy.anchor,
        forward,
        server="    qname-minimisation: yes\n    qname-minimisation-strict: yes\n" + server,
    )
