"""dnsdist, both ways that are fast: a suffix tree in memory, and a constant database (CDB).

The tree answers passed names sooner, the database blocked ones, and it needs no loading.
"""

from __future__ import annotations

from bench.peers import HOST
from bench.peers.cdb import write_cdb
from bench.peers.names import Names
from bench.peers.server import UPSTREAM, Server
from enforcer.core.name import Name

CONFIG = """\
setLocal("{host}:{port}")
setACL("127.0.0.0/8")
setSecurityPollSuffix("")
setMaxUDPOutstanding(65535)
setUDPMultipleMessagesVectorSize(64)
newServer({{address="{upstream}", checkInterval=60}})
getPool(""):setCache(newPacketCache(2000000, {{maxTTL=86400}}))
"""
TREE = """\
local names = newSuffixMatchNode()
for name in io.lines("names") do names:add(name) end
addAction(SuffixMatchNodeRule(names, true), RCodeAction(DNSRCode.NXDOMAIN))
"""
DATABASE = """\
local names = newCDBKVStore("{folder}/names.cdb", 0)
local is_listed = KeyValueStoreLookupRule(names, KeyValueLookupKeySuffix(1))
addAction(is_listed, RCodeAction(DNSRCode.NXDOMAIN))
"""


class Dnsdist(Server):
    name = "dnsdist"
    package = "dnsdist"
    program = "dnsdist"
    setting = "SuffixMatchNodeRule, packet cache, recvmmsg vectors of 64"

    def prepare(self, names: Names) -> None:
        self.write("names", "".join(f"{name}\n" for name in names.blocked))
        self.configure(TREE)

    def configure(self, rules: str) -> None:
        text = CONFIG.format(host=HOST, port=self.port, upstream=UPSTREAM)
        self.write("conf", text + rules)

    def command(self) -> list[str]:
        return [self.program, "--supervised", "--disable-syslog", "-C", "conf"]


class DnsdistCdb(Dnsdist):
    name = "dnsdist-cdb"
    setting = "KeyValueStoreLookupRule in a CDB, packet cache, recvmmsg vectors of 64"

    def prepare(self, names: Names) -> None:
        wires = (Name.from_text(name).wire for name in names.blocked)
        write_cdb(self.folder / "names.cdb", wires)
        self.configure(DATABASE.format(folder=self.folder))
