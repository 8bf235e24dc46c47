"""Knot Resolver: policy.rpz, its cache in shared memory, forwarding."""

from __future__ import annotations

import shutil

from bench.peers import HOST, UPSTREAM_PORT
from bench.peers.names import Names
from bench.peers.server import Server
from bench.peers.zone import write_zone

CONFIG = """\
log_level('err')
net.listen('{host}', {port}, {{ kind = 'dns' }})
cache.open(512 * MB, 'lmdb://{folder}/cache')
trust_anchors.remove('.')
modules.unload('priming')
modules.unload('ta_update')
modules.unload('ta_signal_query')
modules.unload('detect_time_skew')
policy.add(policy.rpz(policy.DENY, '{folder}/zone', false))
policy.add(policy.all(policy.FORWARD({{'{host}@{upstream_port}'}})))
"""


class KnotResolver(Server):
    name = "knot-resolver"
    package = "knot-resolver"
    program = "kresd"
    setting = "policy.rpz, no validation"

    def prepare(self, names: Names) -> None:
        write_zone(self.folder / "zone", names.blocked)
        text = CONFIG.format(
            host=HOST, port=self.port, folder=self.folder, upstream_port=UPSTREAM_PORT
        )
        self.write("conf", text)

    def start(self) -> None:
        shutil.rmtree(self.folder / "cache", ignore_errors=True)
        (self.folder / "cache").mkdir()
        super().start()

    def command(self) -> list[str]:
        return [self.program, "-n", "-c", "conf", str(self.folder)]
