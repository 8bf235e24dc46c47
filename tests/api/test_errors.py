"""Errors cross the wire and come back as what they were."""

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc.aio import Metadata

from enforcer.api.errors import DETAILS_KEY, KINDS, TEXT_CHARACTERS_MAX, error_of, status_of
from enforcer.errors import EnforcerError, InputError, UnavailableError


def across(error):
    code, message, trailers = status_of(error)
    return error_of(grpc.aio.AioRpcError(code, Metadata(), Metadata(*trailers), message))


def failure(code, details="", trailers=()):
    return error_of(grpc.aio.AioRpcError(code, Metadata(), Metadata(*trailers), details))


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.__name__)
def test_every_kind_comes_back_with_words_advice_and_data(kind):
    error = kind(
        "so it is",
        advice="Do this.",
        field="order.order_id",
        index=7,
        negative=-1,
        yes=True,
        no=False,
        nothing=None,
    )
    back = across(error)
    assert type(back) is kind
    assert (back.message, back.advice, back.data) == (error.message, error.advice, error.data)


def test_every_kind_of_error_has_its_status():
    assert set(KINDS.values()) == set(EnforcerError.__subclasses__())
    assert len({kind.grpc_status for kind in KINDS.values()}) == len(KINDS)


def test_a_hash_stays_text_even_when_all_its_digits_are_decimal():
    assert across(InputError("x", advice="y", sha256="1" * 64)).data["sha256"] == "1" * 64


def test_long_words_are_cut_because_details_travel_in_headers():
    back = across(InputError("m" * 5_000, advice="a" * 5_000, long="d" * 5_000))
    assert {len(back.message), len(back.advice), len(back.data["long"])} == {TEXT_CHARACTERS_MAX}


def test_an_error_without_a_field_has_no_bad_request():
    _, _, trailers = status_of(UnavailableError("x", advice="y"))
    status = status_pb2.Status.FromString(trailers[0][1])
    assert not any(each.Is(error_details_pb2.BadRequest.DESCRIPTOR) for each in status.details)


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
)
def test_whatever_else_ends_a_call_is_unavailable(code):
    error = failure(code, "some words")
    assert isinstance(error, UnavailableError)
    assert error.advice


def test_a_message_over_the_limit_is_an_input_error():
    error = failure(
        grpc.StatusCode.RESOURCE_EXHAUSTED, "SERVER: Received message larger than max (2 vs. 1)"
    )
    assert isinstance(error, InputError)


@pytest.mark.parametrize("details", [b"\xff\xff", status_pb2.Status(code=3).SerializeToString()])
def test_details_of_others_are_not_taken_for_ours(details):
    error = failure(grpc.StatusCode.INTERNAL, "x", [(DETAILS_KEY, details)])
    assert isinstance(error, UnavailableError)
