"""A node's world, a ledger in its directory; a test file's own fixtures go before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.ledgers import Archive
from tests.node_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path / "ledger")
