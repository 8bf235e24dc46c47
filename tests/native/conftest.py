"""What is closed with a test, for those that have much to close."""

from contextlib import ExitStack

import pytest


@pytest.fixture
def opened():
    with ExitStack() as stack:
        yield stack
