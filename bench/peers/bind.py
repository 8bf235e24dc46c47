"""BIND: a response policy zone in its raw format, which loads fastest; forwarding."""

from __future__ import annotations

import os
import subprocess

from bench.peers import HOST, UPSTREAM_PORT
from bench.peers.names import Names
from bench.peers.server import Server, search_path
from bench.peers.zone import ORIGIN, write_zone

CONFIG = """\
options {{
    directory "{folder}";
    listen-on port {port} {{ {host}; }};
    listen-on-v6 {{ none; }};
    pid-file none;
    session-keyfile none;
    allow-query {{ 127.0.0.0/8; }};
    recursion yes;
    forward only;
    forwarders {{ {host} port {upstream_port}; }};
    dnssec-validation no;
    qname-minimization off;
    minimal-responses yes;
    empty-zones-enable no;
    max-cache-size 1g;
    recursive-clients 10000;
    response-policy {{ zone "{origin}" policy nxdomain; }}
        qname-wait-recurse no nsip-wait-recurse no nsip-enable no nsdname-enable no
        break-dnssec yes;
}};
controls {{ }};
logging {{
    channel out {{ stderr; severity info; }};
    category default {{ null; }};
    category general {{ out; }};
}};
zone "{origin}" {{
    type primary; file "zone.raw"; masterfile-format raw; notify no; allow-query {{ none; }};
}};
"""


class Bind(Server):
    name = "bind"
    package = "bind9"
    program = "named"
    setting = "RPZ (raw), qname-wait-recurse no, no validation, one thread"

    def prepare(self, names: Names) -> None:
        zone = write_zone(self.folder / "zone", names.blocked)
        command = ["named-compilezone", "-q", "-i", "none", "-F", "raw", "-o", "zone.raw"]
        subprocess.run(
            [*command, ORIGIN, str(zone)],
            check=True,
            cwd=self.folder,
            env={**os.environ, "PATH": search_path()},
        )
        text = CONFIG.format(
            host=HOST,
            port=self.port,
            folder=self.folder,
            upstream_port=UPSTREAM_PORT,
            origin=ORIGIN,
        )
        self.write("conf", text)

    def command(self) -> list[str]:
        return [self.program, "-f", "-n", "1", "-c", str(self.folder / "conf")]

    def is_loaded(self) -> bool:
        """Tell whether the policy is complete: it begins to block before that."""
        return "reload done" in self.said()
