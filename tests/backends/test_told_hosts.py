"""Machines that others name stay known while those are away, also over a restart."""

from enforcer.backends.kept_files import KeptFiles
from enforcer.backends.told_hosts import TOLD_FILE, ToldHosts
from enforcer.errors import UnavailableError


class Teller:
    """Says what it is told to say."""

    def __init__(self, *hosts):
        self.hosts = hosts
        self.is_away = False

    async def __call__(self):
        if self.is_away:
            raise UnavailableError("it is away", advice="Start it.")
        return self.hosts


async def test_who_is_away_leaves_what_it_told_before_also_to_the_next_process(tmp_path):
    gate, sentinels = Teller("203.0.113.53"), Teller("192.0.2.1", "192.0.2.2")
    told = ToldHosts(KeptFiles(tmp_path), {"gate": gate, "sentinels": sentinels})
    both = {"203.0.113.53", "192.0.2.1", "192.0.2.2"}
    assert await told() == both
    gate.is_away = True
    sentinels.hosts = ("192.0.2.2", "192.0.2.3")
    both = {"203.0.113.53", "192.0.2.2", "192.0.2.3"}
    assert await told() == both
    sentinels.is_away = True
    again = ToldHosts(KeptFiles(tmp_path), {"gate": gate, "sentinels": sentinels})
    assert await again() == both
    gate.is_away, gate.hosts = False, ("203.0.113.54",)
    assert await again() == {"203.0.113.54", "192.0.2.2", "192.0.2.3"}


async def test_a_file_that_is_damaged_or_of_others_is_no_reason_to_stop(tmp_path):
    for kept in (b"", b"[]", b"{", b'{"gate": 7}', b'{"other": ["192.0.2.9"]}'):
        (tmp_path / TOLD_FILE).write_bytes(kept)
        assert await ToldHosts(KeptFiles(tmp_path), {"gate": Teller("192.0.2.1")})() == {
            "192.0.2.1"
        }
