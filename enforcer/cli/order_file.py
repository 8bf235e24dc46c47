"""``order.toml``: an order as its proposer writes it, and the payload that is made of it.

Times are TOML times or ``+30d``; an end is mandatory. Hashes, counts and ids of this request are
computed, never written by hand.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self

from msgspec import Meta
from msgspec.structs import replace

from enforcer.app.acts import Common
from enforcer.cli.words import choice, time_of
from enforcer.config import File, Section
from enforcer.core.key import Category
from enforcer.core.order import (
    Appeal,
    LegalBasis,
    Measure,
    OrderProposed,
    OrderRef,
    Publication,
)
from enforcer.core.policy import DecisionKind
from enforcer.core.table import Binding, DnsMeasure, IpMeasure
from enforcer.core.target import ListSummary


class Moment:
    """A time in the file: a TOML time with its offset, or ``+30d`` from when the order is made."""

    def __init__(self, value: str | datetime) -> None:
        self.text = value if isinstance(value, str) else value.isoformat()

    @classmethod
    def from_toml(cls, value: object) -> Self:
        """Read the value of a key.

        Raises:
            ValueError: it is neither text nor a time.
        """
        if not isinstance(value, (str, datetime)):
            raise ValueError('write a time such as 2027-01-31T00:00:00Z, or "+30d"')  # noqa: TRY004 - a value in a file, not a defect
        return cls(value)

    def at(self, now_ms: int, field: str) -> int:
        """Return Unix time in milliseconds.

        Raises:
            InputError: the text is no time.
        """
        return time_of(self.text, now_ms, field)


class Basis(Section, frozen=True, kw_only=True):
    """One ``[[legal_basis]]``."""

    instrument: str
    provision: str
    uri: str | None = None


class AppealPart(Section, frozen=True, kw_only=True):
    """``[appeal]``."""

    body: str
    address: str
    deadline: Moment | None = None


class MeasurePart(Section, frozen=True, kw_only=True):
    """``[measure]``; what is not written follows from what the list has."""

    dns: str | None = None
    """For addresses alone: none, or negative to take them out of DNS answers as well."""
    ip: str | None = None

    def measure(self, summary: ListSummary) -> Measure:
        """Return the measure for a list: the mildest for what it has, where none is written.

        Raises:
            InputError: a word is no measure.
        """
        has_addresses = summary.target_count > summary.name_count
        dns = self.dns or ("negative" if summary.name_count else "none")
        ip = self.ip or ("reject" if has_addresses else "none")
        return Measure(choice(DnsMeasure, dns, "measure.dns"), choice(IpMeasure, ip, "measure.ip"))


class SupersedesPart(Section, frozen=True, kw_only=True):
    """``[supersedes]``: the version that this one takes the place of."""

    entry_index: int
    payload_sha256: str


class OrderFile(File, frozen=True, kw_only=True):
    """The whole file."""

    order_id: str
    version: int = 1
    supersedes: SupersedesPart | None = None
    authority: str
    legal_basis: Annotated[tuple[Basis, ...], Meta(min_length=1, max_length=16)]
    case_reference: str
    decision_kind: str
    binding: str = "binding"
    category: str
    territory: str
    reasons: Annotated[str, Meta(min_length=1)] | None = None
    """The statement of reasons; --reasons names a file instead."""
    not_before: Moment | None = None
    expires_at: Moment
    review_due_at: Moment | None = None
    measure: MeasurePart = MeasurePart()
    appeal: AppealPart
    notifications: tuple[str, ...] = ()

    def with_ip_measure(self, word: str) -> OrderFile:
        """Return the same order with another measure against addresses."""
        return replace(self, measure=replace(self.measure, ip=word))

    def payload(
        self,
        common: Common,
        now_ms: int,
        *,
        summary: ListSummary,
        reasons_sha256: str,
        decision_sha256: str | None,
        evidence_sha256: tuple[str, ...],
        publication: Publication,
    ) -> OrderProposed:
        """Return the payload; what comes beside the file is computed, not written by hand.

        Raises:
            InputError: a name of a closed list or a time is wrong.
        """
        expires_at_ms = self.expires_at.at(now_ms, "expires_at")
        begins = self.not_before.at(now_ms, "not_before") if self.not_before else now_ms
        review = self.review_due_at
        former = self.supersedes
        deadline = self.appeal.deadline
        return OrderProposed(
            ledger_origin=common.ledger_origin,
            request_id=common.request_id,
            valid_until_ms=common.valid_until_ms,
            order_id=self.order_id,
            version=self.version,
            supersedes=OrderRef(self.order_id, former.entry_index, former.payload_sha256)
            if former
            else None,
            authority=self.authority,
            legal_basis=tuple(
                LegalBasis(each.instrument, each.provision, each.uri) for each in self.legal_basis
            ),
            case_reference=self.case_reference,
            decision_kind=choice(DecisionKind, self.decision_kind, "decision_kind"),
            binding=choice(Binding, self.binding, "binding"),
            category=choice(Category, self.category, "category"),
            measure=self.measure.measure(summary),
            territory=self.territory,
            not_before_ms=begins,
            expires_at_ms=expires_at_ms,
            review_due_at_ms=review.at(now_ms, "review_due_at") if review else expires_at_ms,
            appeal=Appeal(
                self.appeal.body,
                self.appeal.address,
                deadline.at(now_ms, "appeal.deadline") if deadline else None,
            ),
            publication=publication,
            assessment_sha256=None,
            notifications=self.notifications,
            target_list_sha256=summary.sha256,
            target_count=summary.target_count,
            statement_of_reasons_sha256=reasons_sha256,
            decision_sha256=decision_sha256,
            evidence_sha256=evidence_sha256,
        )
