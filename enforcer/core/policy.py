"""The policy: what the roots allow, within what the code allows.

A policy can only narrow: the caps below are the law's, in code, and an entry that asks for
more has no effect. Bulk data (protected names, public suffixes, shared ranges) is pinned by
SHA-256, so every reader uses the data of that time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Annotated, ClassVar, Final

from enforcer.core.fields import Items, Range, Sha256, Text
from enforcer.core.key import Category
from enforcer.core.payload import Payload
from enforcer.core.target import TARGETS_MAX

FOLD_VERSION: Final = 1
GROWTH_TARGETS_MAX: Final = 20_000_000
ADMINISTRATIVE_DAYS_MAX: Final = 366
DELAYED_DAYS_MAX: Final = 30
DAY_MS: Final = 86_400_000


class DecisionKind(IntEnum):
    """What kind of decision stands behind an order; it caps how long the order may last."""

    UNSPECIFIED = 0
    COURT_FINAL = 1
    COURT_INTERIM = 2
    ADMINISTRATIVE = 3
    CERT_ADVISORY = 4
    EMERGENCY = 5


ADMINISTRATIVE_KINDS: Final = frozenset(
    (DecisionKind.ADMINISTRATIVE, DecisionKind.EMERGENCY, DecisionKind.CERT_ADVISORY)
)
"""Without a court: their time adds up for each target."""
COURT_KINDS: Final = frozenset((DecisionKind.COURT_FINAL, DecisionKind.COURT_INTERIM))

LIFETIME_DAYS_MAX_BY_KIND: Final = {
    DecisionKind.COURT_FINAL: 366,
    DecisionKind.COURT_INTERIM: 90,
    DecisionKind.ADMINISTRATIVE: 180,
    DecisionKind.CERT_ADVISORY: 30,
    DecisionKind.EMERGENCY: 3,
}
LIFETIME_DAYS_MAX_BY_CATEGORY: Final = {
    Category.PHISHING: 180,
    Category.SCAM: 180,
    Category.MALWARE: 180,
    Category.BOTNET_CONTROL: 180,
    Category.SPAM_SOURCE: 90,
    Category.CHILD_ABUSE_MATERIAL: 366,
    Category.COURT_DECISION: 366,
}


@dataclass(frozen=True, slots=True)
class LifetimeCap:
    """A shorter cap than the code's for one category and kind of decision."""

    category: Category
    decision_kind: DecisionKind
    lifetime_days_max: Annotated[int, Range(1, 366)]


@dataclass(frozen=True, slots=True)
class Pins:
    """SHA-256 of the data that guards and tables read; null where none is pinned yet."""

    protected_core: Sha256 | None
    """Names that can never be blocked: a canonical target list."""
    protected_names: Sha256 | None
    """Names that pass unless an order overrides them by name: a canonical target list."""
    public_suffixes: Sha256 | None
    """Names under which others register theirs; in the grammar of :mod:`enforcer.core.guard_data`,
    as the next."""
    shared_ranges: Sha256 | None
    """Prefixes whose addresses many unrelated parties share."""

    @property
    def lists(self) -> tuple[str, ...]:
        """All that is pinned, in this order."""
        pinned = (
            self.protected_core,
            self.protected_names,
            self.public_suffixes,
            self.shared_ranges,
        )
        return tuple(each for each in pinned if each is not None)


@dataclass(frozen=True, slots=True)
class PolicyAdopted(Payload):
    """The policy from this entry on; its hash is that of this payload."""

    TYPE: ClassVar = "application/vnd.enforcer.policy-adopted.v1+json"

    fold_version: Annotated[int, Range(1, 1_000)]
    follows_sha256: Sha256 | None
    """Payload hash of the policy that this one takes over from; null for the first."""
    register_url: Annotated[str, Text(200, r"https://[!-~]+/", "an https URL that ends with '/'")]
    """Public register of orders; an order's page is this URL and its order id."""
    register_domain: Annotated[
        str,
        Text(
            100, r"([a-z0-9-]{1,63}\.)+[a-z0-9-]{1,63}", "a domain name in lower case, no final dot"
        ),
    ]
    """Under it each order has the name that blocked answers give as SOA MNAME."""
    targets_max: Annotated[int, Range(1, TARGETS_MAX)]
    """Most targets that one order may have."""
    growth_targets_max: Annotated[int, Range(1, GROWTH_TARGETS_MAX)]
    """Most targets that one authority may add within 24 hours without a hold."""
    administrative_days_max: Annotated[int, Range(1, ADMINISTRATIVE_DAYS_MAX)]
    """Longest that a target may be blocked without a court, over all orders together."""
    delayed_days_max: Annotated[int, Range(0, DELAYED_DAYS_MAX)]
    """Longest that a list may stay unpublished from its proposal on; 0: none may."""
    persons_min: Annotated[int, Range(2, 5)]
    """Persons whose signatures a block needs, the proposer among them."""
    lifetime_caps: Annotated[tuple[LifetimeCap, ...], Items(0, 64)]
    pins: Pins

    def lifetime_ms_max(self, category: Category, kind: DecisionKind) -> int:
        """Return the longest time in force, counted from approval: the smallest of all caps."""
        days = min(LIFETIME_DAYS_MAX_BY_CATEGORY[category], LIFETIME_DAYS_MAX_BY_KIND[kind])
        for cap in self.lifetime_caps:
            if (cap.category, cap.decision_kind) == (category, kind):
                days = min(days, cap.lifetime_days_max)
        return days * DAY_MS
