"""A gate on loopback for every test that asks for one; a test file's own fixtures go before."""

import pytest

from tests.backends.gate_world import GateUnderTest, Resolver, gate_folder


@pytest.fixture
def resolver():
    made = Resolver()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path):
    with gate_folder(tmp_path) as path:
        yield path


@pytest.fixture
def start_gate(folder, resolver):
    """Start a gate with settings of the test's own; it ends with the test."""
    started = []

    def start(**settings):
        started.append(GateUnderTest(folder, resolver.place, **settings))
        return started[-1].start()

    yield start
    for gate in started:
        gate.open.close()
        if gate.process is not None:
            if "allowed_uids" not in gate.settings:  # else it may not tell us
                gate.counters()
            assert gate.end() == 0, gate.log.read_text()


@pytest.fixture
def gate(start_gate):
    return start_gate()


@pytest.fixture
def asking(gate):
    return gate.asking()
