"""Bad input over the wire: the kind, the field and the remedy arrive, and nothing changes."""

from dataclasses import replace
from hashlib import sha256

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from google.rpc import error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc

from enforcer.api.errors import DETAILS_KEY
from enforcer.api.server import TlsFiles
from enforcer.backends.certificate_request import Holder
from enforcer.backends.pki import Authority
from enforcer.core import fields
from enforcer.core.envelope import format_envelope, sign
from enforcer.core.key import Role
from enforcer.core.order import OrderProposed
from enforcer.core.policy import DAY_MS
from enforcer.errors import (
    ConflictError,
    EnforcerError,
    InputError,
    NotFoundError,
    RefusedError,
    UnavailableError,
)
from enforcer.v1 import order_pb2, order_pb2_grpc
from tests.control import ORIGIN, REASONS, TARGETS, key_pem, with_reasons
from tests.people import seal

NAME = sha256(TARGETS).hexdigest()


@pytest.fixture
async def ready(served, tmp_path):
    """A served control plane that has the list."""
    path = tmp_path / "targets.txt"
    path.write_bytes(TARGETS)
    async with served.client(served.land.proposer) as client:
        await client.upload_targets(path)
    return served


@pytest.fixture
async def order(ready):
    """A proposed order."""
    async with ready.client(ready.land.proposer) as client:
        envelope = seal(with_reasons(ready.land), ready.land.proposer.key)
        return ready.land.ref((await client.propose(envelope, [REASONS])).index)


async def refusal(ready, client, method, *args, **kwargs):
    """Call, and return the error that comes back; nothing may have changed."""
    note = ready.control.ledger.files.checkpoint_note
    async with client:
        with pytest.raises(EnforcerError) as caught:
            await getattr(client, method)(*args, **kwargs)
    assert ready.control.ledger.files.checkpoint_note == note
    assert caught.value.advice
    return caught.value


def proposal(ready, envelope, files=(REASONS,)):
    return refusal(ready, ready.client(ready.land.proposer), "propose", envelope, files)


def spelled(ready, **changes):
    """Return a signed order whose payload's JSON was changed by hand."""
    plain = fields.to_plain(with_reasons(ready.land))
    plain.update(changes)
    payload = fields.dump({key: value for key, value in plain.items() if value != "absent"})
    key = ready.land.proposer.key
    return sign(OrderProposed.TYPE, payload, [(key.key_id, key.sign)])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"expires_at_ms": "absent"}, "expires_at_ms"),
        ({"unheard_of": 1}, "unheard_of"),
        ({"category": "OPINION"}, "category"),
        ({"category": "UNSPECIFIED"}, "category"),
        ({"target_count": 0}, "target_count"),
        ({"order_id": "VN-1"}, "order_id"),
    ],
)
async def test_a_malformed_field_is_named(ready, changes, field):
    error = await proposal(ready, spelled(ready, **changes))
    assert isinstance(error, InputError)
    assert error.data["field"] == field


@pytest.mark.parametrize("name", ["ệ" * 5_000, "a\ud800b"], ids=["long", "lone surrogate"])
async def test_a_field_with_a_monstrous_name_still_gets_an_answer(ready, name):
    payload = fields.dump(with_reasons(ready.land))[:-1] + b',"%s":1}' % (
        name.encode("utf-8") if name.isalpha() else b"a\\ud800b"
    )
    key = ready.land.proposer.key
    error = await proposal(ready, sign(OrderProposed.TYPE, payload, [(key.key_id, key.sign)]))
    assert isinstance(error, InputError)
    assert error.data["field"]


@pytest.mark.parametrize(
    ("changes", "kind", "field"),
    [
        (lambda now: {"expires_at_ms": now - DAY_MS}, RefusedError, "expires_at_ms"),
        (lambda now: {"expires_at_ms": now + 400 * DAY_MS}, RefusedError, "expires_at_ms"),
        (lambda now: {"valid_until_ms": now - 1}, RefusedError, "valid_until_ms"),
        (lambda now: {"ledger_origin": "example.org/other"}, RefusedError, "ledger_origin"),
        (lambda now: {"target_list_sha256": "0" * 64}, NotFoundError, "target_list_sha256"),
        (lambda now: {"target_count": 3}, RefusedError, "target_count"),
        (lambda now: {"authority": "other-authority"}, RefusedError, "authority"),
        (lambda now: {"territory": "FR"}, RefusedError, "territory"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_the_rules_forbid_names_the_field(ready, changes, kind, field):
    order = with_reasons(ready.land, **changes(ready.land.now_ms))
    error = await proposal(ready, seal(order, ready.land.proposer.key))
    assert type(error) is kind
    assert error.data["field"] == field


async def test_a_signature_by_the_wrong_role_is_refused(ready, order):
    land = ready.land
    as_approver = replace(land.proposer, role=Role.APPROVER)  # in the certificate alone
    error = await refusal(
        ready, ready.client(as_approver), "approve", seal(land.approval(order), land.proposer.key)
    )
    assert isinstance(error, RefusedError)
    assert "signature of an.nguyen for PROPOSER" in error.message


async def test_a_certificate_of_the_wrong_role_is_refused(ready, order):
    land = ready.land
    approval = seal(land.approval(order), land.approver.key)
    error = await refusal(
        ready, ready.client(replace(land.approver, role=Role.PROPOSER)), "approve", approval
    )
    assert isinstance(error, RefusedError)
    assert error.data["field"] == "certificate"
    assert "APPROVER" in error.advice


async def test_a_caller_who_did_not_sign_is_refused(ready, order):
    land = ready.land
    approval = seal(land.approval(order), land.approver.key)
    error = await refusal(ready, ready.client(land.second_approver), "approve", approval)
    assert isinstance(error, RefusedError)
    assert "chi.le" in error.message


async def test_one_person_with_two_keys_cannot_approve_the_own_order(ready, order):
    land = ready.land
    again = replace(
        land.approver, person_id=land.proposer.person_id, key=type(land.approver.key).generate()
    )
    async with ready.client(land.oversight) as client:
        await client.record_root_act(seal(again.registration(land.now_ms), *land.roots[:2]))
    error = await refusal(
        ready, ready.client(again), "approve", seal(land.approval(order), again.key)
    )
    assert isinstance(error, RefusedError)
    assert "cannot approve it as well" in error.message


async def test_one_signature_never_blocks(ready, order):
    land = ready.land
    twice = seal(land.approval(order), land.approver.key, land.second_approver.key)
    error = await refusal(ready, ready.client(land.approver), "approve", twice)
    assert "takes one" in error.message


async def test_an_unregistered_signer_is_named_before_anything_else(ready):
    stranger = replace(ready.land.proposer, key=type(ready.land.proposer.key).generate())
    order = seal(with_reasons(ready.land), stranger.key)
    error = await refusal(ready, ready.client(stranger), "propose", order, [REASONS])
    assert "not registered" in error.message
    assert error.data["key_id"] == stranger.key.key_id


async def test_one_root_alone_adopts_nothing(ready):
    act = seal(ready.land.policy(), ready.land.roots[0])
    error = await refusal(ready, ready.client(ready.land.oversight), "record_root_act", act)
    assert isinstance(error, RefusedError)


async def test_an_order_cannot_come_in_by_the_roots_door(ready):
    order = seal(with_reasons(ready.land), ready.land.proposer.key)
    error = await refusal(ready, ready.client(ready.land.oversight), "record_root_act", order)
    assert isinstance(error, InputError)
    assert error.data["field"] == "payloadType"


async def test_another_payload_under_a_used_request_id_is_a_conflict(ready):
    land = ready.land
    order = with_reasons(land)
    async with ready.client(land.proposer) as client:
        first = await client.propose(seal(order, land.proposer.key), [REASONS])
    error = await proposal(ready, seal(replace(order, case_reference="x"), land.proposer.key))
    assert isinstance(error, ConflictError)
    assert error.data["index"] == first.index


async def test_an_act_for_an_order_by_another_hash_is_refused(ready, order):
    land = ready.land
    forged = replace(order, payload_sha256="0" * 64)
    error = await refusal(
        ready,
        ready.client(land.approver),
        "approve",
        seal(land.approval(forged), land.approver.key),
    )
    assert error.data["field"] == "order.payload_sha256"


async def test_a_message_over_the_limit_is_an_input_error_with_a_remedy(ready):
    order = seal(with_reasons(ready.land), ready.land.proposer.key)
    error = await proposal(ready, order, files=[b"x" * (10 << 20)])
    assert isinstance(error, InputError)
    assert "over the limit" in error.message


@pytest.mark.parametrize(
    ("text", "line", "column"),
    [
        (b"exact BAD.example.org\n", 1, 7),
        (b"exact bad.example.org", 1, 22),
        ("exact bäd.example.org\n".encode(), 1, 8),
        (b"exact https://bad.example.org/\n", 1, 13),
        (b"exact a.example.org\nsubtree *.example.org\n", 2, 9),
        (b"net 192.0.2.1/24\n", 1, 5),
        (b"exact b.example.org\nexact a.example.org\n", 2, 1),
        (b"", 1, 1),
    ],
)
async def test_a_list_that_is_not_canonical_says_line_and_column(
    served, tmp_path, text, line, column
):
    path = tmp_path / "targets.txt"
    path.write_bytes(text)
    error = await refusal(served, served.client(served.land.proposer), "upload_targets", path)
    assert isinstance(error, InputError)
    assert (error.data["line"], error.data["column"]) == (line, column)


async def test_an_upload_without_its_header_is_refused(served):
    files = served.issue(Role.PROPOSER, "an.nguyen")
    error = await raw_error(
        served,
        files,
        lambda stub: stub.UploadTargets(iter([order_pb2.UploadTargetsRequest(chunk=b"x")])),
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


# What the wire itself shows: status, details, certificates.


async def raw_error(served, files, call):
    """Call a stub of the generated code, and return the RpcError."""
    credentials = grpc.ssl_channel_credentials(files.authority, files.key, files.certificate)
    address = f"127.0.0.1:{served.control.port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(order_pb2_grpc.OrderServiceStub(channel))
    return caught.value


def details_of(error):
    status = status_pb2.Status.FromString(dict(error.trailing_metadata())[DETAILS_KEY])
    info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    for detail in status.details:
        detail.Unpack(info)
        detail.Unpack(bad)
    return info, bad


async def test_a_plain_client_sees_bad_request_details(ready):
    order = seal(with_reasons(ready.land, target_count=3), ready.land.proposer.key)
    error = await raw_error(
        ready,
        ready.issue(Role.PROPOSER, "an.nguyen"),
        lambda stub: stub.ProposeOrder(
            order_pb2.ProposeOrderRequest(envelope=format_envelope(order), side_files=[REASONS])
        ),
    )
    info, bad = details_of(error)
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert (info.reason, info.domain) == ("RefusedError", "enforcer")
    (violation,) = bad.field_violations
    assert violation.field == "target_count"
    assert "own count" in violation.description


@pytest.mark.parametrize("envelope", [b"", b"{}", b"\xff", b'{"payloadType":"x"}'])
async def test_what_is_no_envelope_is_an_input_error(served, envelope):
    error = await raw_error(
        served,
        served.issue(Role.APPROVER, "binh.tran"),
        lambda stub: stub.ApproveOrder(order_pb2.ApproveOrderRequest(envelope=envelope)),
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (order_pb2.ListOrdersRequest(page_size=-1), "page_size"),
        (order_pb2.ListOrdersRequest(page_token="mine"), "page_token"),
        (order_pb2.ListOrdersRequest(page_token="4.1", status=0), "page_token"),
        (order_pb2.ListOrdersRequest(status=99), "status"),
    ],
)
async def test_a_listing_asked_for_wrongly_names_the_field(served, request_, field):
    error = await raw_error(
        served,
        served.issue(Role.AUDITOR, "auditor"),
        lambda stub: stub.ListOrders(request_),
    )
    assert error.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(error)[1].field_violations[0].field == field


def with_names(served, *names):
    """Return a certificate by the right authority that has just these URI names."""
    key = generate_private_key(SECP256R1())
    pem = served.authority.issue(Holder(ORIGIN, Role.PROPOSER, "an.nguyen"), key.public_key())
    template = x509.load_pem_x509_certificate(pem)
    builder = (
        x509.CertificateBuilder()
        .subject_name(template.subject)
        .issuer_name(template.issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(template.not_valid_before_utc)
        .not_valid_after(template.not_valid_after_utc)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    signed = builder.sign(served.authority.key, template.signature_hash_algorithm)
    return TlsFiles(
        signed.public_bytes(serialization.Encoding.PEM), key_pem(key), served.authority.pem
    )


URI = x509.UniformResourceIdentifier


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([], "names no role"),
        (
            [
                URI("spiffe://example.org/proposer/an.nguyen"),
                URI("spiffe://example.org/approver/an.nguyen"),
            ],
            "nobody has two roles",
        ),
        ([x509.DNSName("spiffe://example.org/proposer/an.nguyen")], "names no role"),
        ([URI("spiffe://example.net/proposer/an.nguyen")], "of the trust domain example.net"),
        ([URI("spiffe://example.org/king/an.nguyen")], "no known role: 'king'"),
        ([URI("spiffe://example.org/PROPOSER/an.nguyen")], "no known role: 'PROPOSER'"),
        ([URI("spiffe://example.org/unspecified/an.nguyen")], "no known role: 'unspecified'"),
        ([URI("spiffe://example.org/proposer/")], "is not spiffe://"),
        ([URI("spiffe://example.org/proposer/an.nguyen/more")], "is not spiffe://"),
        ([URI("https://example.org/proposer/an.nguyen")], "is not spiffe://"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(str(n.value) for n in value),
)
async def test_a_certificate_that_does_not_say_one_thing_is_refused(ready, names, words):
    order = seal(with_reasons(ready.land), ready.land.proposer.key)
    error = await raw_error(
        ready,
        with_names(ready, *names),
        lambda stub: stub.ProposeOrder(
            order_pb2.ProposeOrderRequest(envelope=format_envelope(order), side_files=[REASONS])
        ),
    )
    assert error.code() is grpc.StatusCode.PERMISSION_DENIED
    assert words in error.details()
    assert details_of(error)[1].field_violations[0].field == "certificate"


async def test_health_is_told_to_a_certificate_without_a_role(served):
    files = with_names(served)
    credentials = grpc.ssl_channel_credentials(files.authority, files.key, files.certificate)
    address = f"127.0.0.1:{served.control.port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_a_certificate_by_another_authority_does_not_get_in(served):
    other = Authority.create(ORIGIN)
    key = generate_private_key(SECP256R1())
    pem = other.issue(Holder(ORIGIN, Role.PROPOSER, "an.nguyen"), key.public_key())
    files = TlsFiles(pem, key_pem(key), served.authority.pem)
    async with served.connect(files) as client:
        with pytest.raises(UnavailableError):
            await client.policy()


async def test_without_a_certificate_nobody_gets_in(served):
    credentials = grpc.ssl_channel_credentials(served.authority.pem)
    address = f"127.0.0.1:{served.control.port}"
    async with grpc.aio.secure_channel(address, credentials) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await order_pb2_grpc.OrderServiceStub(channel).GetOrder(order_pb2.GetOrderRequest())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_nodes_neither_upload_nor_read_documents(served, tmp_path):
    path = tmp_path / "targets.txt"
    path.write_bytes(TARGETS)
    for method, argument in (("upload_targets", path), ("get_side_file", "0" * 64)):
        error = await refusal(served, served.client(served.land.node), method, argument)
        assert isinstance(error, RefusedError)


@pytest.mark.parametrize(
    ("method", "args", "kind"),
    [
        ("get_tile", (8, 0), InputError),
        ("get_tile", (0, 0, 257), InputError),
        ("get_tile", (0, 9, 1), NotFoundError),
        ("get_tile", (0, 0, 200), NotFoundError),
        ("get_side_file", ("0" * 64,), NotFoundError),
        ("get_side_file", ("../../etc/passwd",), InputError),
        ("get", ("VN-2027-999999",), NotFoundError),
    ],
)
async def test_what_is_not_there_is_said_to_be_not_there(served, method, args, kind):
    error = await refusal(served, served.client(served.land.oversight), method, *args)
    assert type(error) is kind


@pytest.mark.parametrize(
    ("method", "args", "kind"),
    [
        ("read_entries", (5, 99), InputError),
        ("read_entries", (99,), InputError),
        ("get_target_list", ("0" * 64,), NotFoundError),
        ("get_target_list", ("..",), InputError),
        ("get_target_list_delta", ("0" * 64, "1" * 64), NotFoundError),
        ("get_target_list_delta", ("0" * 64, "../../../etc/passwd"), InputError),
        ("get_target_list_delta", ("..", "1" * 64), InputError),
    ],
)
async def test_streams_end_with_the_same_errors(served, method, args, kind):
    async with served.client(served.land.oversight) as client:
        with pytest.raises(kind):
            [each async for each in getattr(client, method)(*args)]


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (("0" * 64, "1" * 64), NotFoundError),
        (("0" * 64, "../../" + "1" * 58), InputError),
        (("", ""), InputError),
    ],
)
async def test_a_wrap_that_is_not_there_is_not_found(served, names, kind):
    error = await refusal(served, served.client(served.land.oversight), "get_wrap", *names)
    assert type(error) is kind


async def test_an_empty_ledger_has_no_checkpoint_and_no_policy(empty):
    for method in ("checkpoint", "policy"):
        error = await refusal(empty, empty.client(empty.land.oversight), method)
        assert isinstance(error, NotFoundError)
