"""Every error has a stable code, a fault and an HTTP status where it can reach a caller."""

import pytest

from milepost.domain import errors
from milepost.domain.errors import (
    HTTP_STATUS,
    Conflict,
    Malformed,
    MilepostError,
    StoreLocked,
    StoreUnavailable,
)

CLASSES = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, MilepostError)]


@pytest.mark.parametrize("error", CLASSES, ids=lambda c: c.__name__)
def test_every_class_says_what_it_is(error: type[MilepostError]) -> None:
    assert HTTP_STATUS[error.code] >= 400
    assert error.fault in ("caller", "us", "upstream", "operator")
    assert error().detail == (error.__doc__ or "").splitlines()[0]


def test_codes_are_one_to_one_with_classes_and_statuses() -> None:
    codes = [c.code for c in CLASSES]

    assert len(codes) == len(set(codes))
    assert set(codes) == set(HTTP_STATUS)


@pytest.mark.parametrize("error", [c for c in CLASSES if c.retryable], ids=lambda c: c.__name__)
def test_what_may_be_tried_again_is_never_called_the_senders_mistake(error: type[MilepostError]) -> None:
    assert HTTP_STATUS[error.code] == 429 or HTTP_STATUS[error.code] >= 500


def test_a_callers_fault_is_a_4xx() -> None:
    assert {HTTP_STATUS[c.code] // 100 for c in CLASSES if c.fault == "caller"} == {4}


def test_detail_and_context() -> None:
    error = Malformed("eventTime is missing", field="eventTime")

    assert (str(error), error.detail, error.context) == (
        "eventTime is missing",
        "eventTime is missing",
        {"field": "eventTime"},
    )


def test_a_locked_store_is_an_unavailable_one_that_waiting_does_not_open() -> None:
    assert issubclass(StoreLocked, StoreUnavailable)
    assert StoreUnavailable.retryable
    assert not StoreLocked.retryable
    assert not Conflict.retryable
