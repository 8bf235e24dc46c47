"""A country for every scenario, whose ledger the auditor finds good when the story has ended."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enforcer.cli.main import app
from tests.backends.wall_clock import WallClock, can_be_made
from tests.scenarios.country import Country


@pytest.fixture(scope="session")
def gates_clock(tmp_path_factory: pytest.TempPathFactory) -> WallClock | None:
    """The wall clock of all gates; None where it cannot be made."""
    return WallClock(tmp_path_factory.mktemp("clock")) if can_be_made() else None


@pytest.fixture
async def country(
    tmp_path: Path, gates_clock: WallClock | None, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Country]:
    if gates_clock is not None:
        gates_clock.set_ahead(0)
    async with Country(tmp_path, gates_clock) as country:
        yield country
        words = country.audit_words()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        app(words)
    said = json.loads(capsys.readouterr().out)
    assert (said["outcome"], ending.value.code) == ("GOOD", 0), said
