"""A country for every scenario, whose ledger the auditor finds good when the story has ended."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from enforcer.cli.main import app
from tests.scenarios.country import Country


@pytest.fixture
async def country(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> AsyncIterator[Country]:
    async with Country(tmp_path) as country:
        yield country
        words = country.audit_words()
    capsys.readouterr()
    with pytest.raises(SystemExit) as ending:
        app(words)
    said = json.loads(capsys.readouterr().out)
    assert (said["outcome"], ending.value.code) == ("GOOD", 0), said
