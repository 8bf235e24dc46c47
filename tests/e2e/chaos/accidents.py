"""What befalls the feed's Redis without anybody's ill will: wiped, cut, made anew, set back."""

from __future__ import annotations

import random
import time

from enforcer.backends.feed_format import FeedKeys
from tests.e2e.installation import ORIGIN, Installation

KEYS = FeedKeys(ORIGIN)
TIMES_MAX = 3


class Accidents:
    """Befall one installation's feed; every choice comes from the seed."""

    def __init__(self, installation: Installation, chance: random.Random) -> None:
        self._installation = installation
        self._chance = chance
        self.kinds = (
            self.flushed,
            self.trimmed,
            self.stream_deleted,
            self.made_anew,
            self.head_deleted,
            self.bundles_deleted,
            self.set_back,
        )

    def strike(self) -> str:
        """Have one to three accidents, and say which."""
        told = []
        with self._installation.feed() as self._feed:
            for _ in range(self._chance.randint(1, TIMES_MAX)):
                time.sleep(self._chance.uniform(0.0, 0.4))
                kind = self._chance.choice(self.kinds)
                kind()
                told.append(kind.__name__)
        return "feed " + ", ".join(told)

    def flushed(self) -> None:
        """FLUSHALL."""
        self._feed.flushall()

    def trimmed(self) -> None:
        """All but the last messages of the stream are gone."""
        self._feed.xtrim(KEYS.log, maxlen=self._chance.randint(0, 5), approximate=False)

    def stream_deleted(self) -> None:
        """The stream is gone; its head is there."""
        self._feed.delete(KEYS.log)

    def made_anew(self) -> None:
        """The stream is another one, which lacks what was first in it."""
        messages = self._feed.xrange(KEYS.log)
        kept = messages[self._chance.randint(0, len(messages)) :]
        with self._feed.pipeline() as turn:
            turn.delete(KEYS.log)
            for identity, fields in kept:
                turn.xadd(KEYS.log, fields, id=identity)
            turn.execute(raise_on_error=False)

    def head_deleted(self) -> None:
        """The stream is there; its head is gone."""
        self._feed.delete(KEYS.head)

    def bundles_deleted(self) -> None:
        """What bundles there are, are gone."""
        for key in self._feed.scan_iter(KEYS.bundle(0)[:-1] + "*"):
            self._feed.delete(key)

    def set_back(self) -> None:
        """All is as it was a while ago, as on a replica with an older history."""
        keys = list(self._feed.scan_iter(KEYS.prefix + "*"))
        before = {key: self._feed.dump(key) for key in keys}
        time.sleep(self._chance.uniform(0.1, 0.6))
        with self._feed.pipeline() as turn:
            turn.flushall()
            for key, value in before.items():
                if value is not None:
                    turn.restore(key, 0, value)
            turn.execute()
