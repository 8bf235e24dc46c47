"""A gate with the times that it is shipped with; those of the other installations are patient.

What comes of it depends on how soon our own resolvers answer: so it is asked for again, by another
name, where they were too slow.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any, Self

import pytest

from tests.e2e.dns import Upstream, address_of
from tests.e2e.installation import Installation


class Shipped(Installation):
    """An installation as it is founded, but for a second resolver behind the gate."""

    is_patient = False

    def _prepare(self, changes: dict[str, Any]) -> None:
        super()._prepare(changes)
        self.second = Upstream()
        config = self.files.gate / "gate.toml"
        alone, both = (
            "upstreams = [" + ", ".join(f'"127.0.0.1:{each.port}"' for each in upstreams) + "]"
            for upstreams in ([self.upstream], [self.upstream, self.second])
        )
        text = config.read_text()
        assert alone in text
        config.write_text(text.replace(alone, both))

    def __enter__(self) -> Self:
        self._stack.enter_context(self.second)
        return super().__enter__()

    def resolves(self, name: str) -> bool:
        return self.ask(name).addresses == (address_of(name),)


@pytest.fixture(scope="module")
def whole_installation(redis_executable: Path) -> Iterator[Shipped]:
    with Shipped() as installation:
        yield installation


def test_a_name_is_blocked_and_resolves_again(installation: Shipped) -> None:
    ref = installation.order(b"exact shipped.example.org\n")
    installation.wait_until(lambda: installation.is_blocked("shipped.example.org"), "it blocks")
    installation.stop(ref)
    installation.wait_until(lambda: installation.resolves("shipped.example.org"), "it resolves")


def test_what_the_first_resolver_says_nothing_to_the_second_answers_in_the_same_query(
    installation: Shipped,
) -> None:
    names = (f"unanswered{at}.example.org" for at in count())

    def resolves_by_the_second() -> bool:
        name = next(names)
        installation.upstream.unanswered.add(name)
        return installation.resolves(name)

    installation.wait_until(resolves_by_the_second, "the second resolver was asked in time")
