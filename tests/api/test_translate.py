"""Numbers on the wire mean what they mean in the core."""

import pytest

from enforcer.api import access, translate
from enforcer.core.guard import Guard
from enforcer.core.key import Category
from enforcer.core.policy import DecisionKind
from enforcer.core.remedy import AppealOutcome
from enforcer.core.standing import Standing
from enforcer.errors import InputError
from enforcer.v1 import audit_pb2, node_pb2, order_pb2, trust_pb2


@pytest.mark.parametrize(
    ("wire", "core", "prefix"),
    [
        (order_pb2.OrderStatus, Standing, "ORDER_STATUS_"),
        (order_pb2.Category, Category, "CATEGORY_"),
        (order_pb2.DecisionKind, DecisionKind, "DECISION_KIND_"),
        (order_pb2.Guard, Guard, "GUARD_"),
        (order_pb2.AppealOutcome, AppealOutcome, "APPEAL_OUTCOME_"),
    ],
)
def test_enums_have_the_same_names_and_numbers(wire, core, prefix):
    assert dict(wire.items()) == {prefix + member.name: member.value for member in core}


def test_every_method_of_every_service_has_a_line_in_the_table():
    ours = {
        f"/{service.full_name}/{method.name}"
        for module in (order_pb2, audit_pb2, node_pb2, trust_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert ours == {name for name in access.ROLES if name.startswith("/enforcer.")}


def test_only_health_is_for_everybody_with_a_certificate():
    open_to_all = {name for name, roles in access.ROLES.items() if roles is None}
    assert open_to_all == {f"/grpc.health.v1.Health/{name}" for name in ("Check", "List", "Watch")}


def test_a_page_token_comes_back_as_it_was_given():
    for wanted in (None, Standing.IN_FORCE):
        assert translate.page_start(translate.page_token(12, wanted), wanted) == 12
    assert translate.page_start("", Standing.IN_FORCE) == 0


@pytest.mark.parametrize("token", ["x", "0", "0.", "0.-1", "0.1.2", "4.1", "0.٣", "0." + "1" * 20])
def test_a_foreign_page_token_is_refused(token):
    with pytest.raises(InputError):
        translate.page_start(token, None)


@pytest.mark.parametrize(("asked", "size"), [(0, 100), (1, 1), (500, 500), (2**31 - 1, 500)])
def test_a_page_has_a_bound(asked, size):
    assert translate.page_size(asked) == size
