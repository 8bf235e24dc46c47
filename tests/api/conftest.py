"""One served control plane for each test that asks."""

import pytest

from tests.control import Installation


@pytest.fixture
async def empty(tmp_path):
    """A control plane whose ledger has no entry yet."""
    async with Installation(tmp_path) as installation:
        yield installation


@pytest.fixture
async def served(empty):
    """A control plane with a policy and everybody registered."""
    await empty.found()
    return empty
