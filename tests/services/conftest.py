"""A node's world for every test that asks for one; a test file's own fixtures go before."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.node_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)
