"""PowerDNS Recursor: a response policy zone, its packet cache, forwarding."""

from __future__ import annotations

from bench.peers import HOST
from bench.peers.names import Names
from bench.peers.server import UPSTREAM, Server
from bench.peers.zone import write_zone

CONFIG = """\
local-address={host}
local-port={port}
threads=1
pdns-distributes-queries=no
forward-zones-recurse=.={upstream}
dont-query=
dnssec=off
qname-minimization=no
lua-config-file=rpz.lua
max-cache-entries=2000000
max-packetcache-entries=2000000
security-poll-suffix=
loglevel=3
quiet=yes
daemon=no
write-pid=no
socket-dir={folder}
"""
POLICY = 'rpzFile("zone", {defpol=Policy.NXDOMAIN, policyName="bench"})\n'


class Recursor(Server):
    name = "recursor"
    package = "pdns-recursor"
    program = "pdns_recursor"
    setting = "rpzFile, packet cache, one thread, no validation"

    def prepare(self, names: Names) -> None:
        write_zone(self.folder / "zone", names.blocked)
        self.write("rpz.lua", POLICY)
        text = CONFIG.format(host=HOST, port=self.port, folder=self.folder, upstream=UPSTREAM)
        self.write("recursor.conf", text)

    def command(self) -> list[str]:
        return [self.program, f"--config-dir={self.folder}"]
