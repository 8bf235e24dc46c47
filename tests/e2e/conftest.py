"""One whole installation for the tests of a file, in step before each test and audited after."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.installation import Installation


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Installation]:
    with Installation() as installation:
        yield installation


@pytest.fixture
def installation(whole_installation: Installation) -> Iterator[Installation]:
    whole_installation.mend()
    yield whole_installation
    whole_installation.mend()
    whole_installation.audit()
    whole_installation.check_answers()
    whole_installation.check_privacy()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item):
    """Show what the programs said last beside a failure."""
    report = yield
    if report.failed:
        found = getattr(item, "funcargs", {}).get("whole_installation")
        if isinstance(found, Installation):
            report.sections += [(each.name, each.tail()) for each in found.programs.values()]
            report.sections.append(("node's status", str(found.node_status())))
    return report
