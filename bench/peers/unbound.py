"""Unbound: a local zone for each name; the iterator alone, forwarding."""

from __future__ import annotations

from bench.peers import HOST, UPSTREAM_PORT
from bench.peers.names import Names
from bench.peers.server import Server

CONFIG = """\
server:
    verbosity: 0
    use-syslog: no
    num-threads: 1
    interface: {host}
    port: {port}
    do-ip6: no
    chroot: ""
    username: ""
    directory: "{folder}"
    pidfile: ""
    module-config: "iterator"
    do-not-query-localhost: no
    qname-minimisation: no
    minimal-responses: yes
    msg-cache-size: 256m
    rrset-cache-size: 512m
    outgoing-range: 8192
    num-queries-per-thread: 4096
    include: "{folder}/zones"
remote-control:
    control-enable: no
forward-zone:
    name: "."
    forward-addr: {host}@{upstream_port}
"""


class Unbound(Server):
    name = "unbound"
    package = "unbound"
    program = "unbound"
    setting = "local-zone always_nxdomain, no validation"

    def prepare(self, names: Names) -> None:
        zones = (f'local-zone: "{name}." always_nxdomain\n' for name in names.blocked)
        self.write("zones", "".join(zones))
        text = CONFIG.format(
            host=HOST, port=self.port, folder=self.folder, upstream_port=UPSTREAM_PORT
        )
        self.write("conf", text)

    def command(self) -> list[str]:
        return [self.program, "-d", "-c", "conf"]
