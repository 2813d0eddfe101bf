"""What is sent again, how often, after how long, and when the budget says no."""

from __future__ import annotations

import itertools

import pytest

from triptych import (
    ConnectionFailed,
    ContractMismatch,
    DeadlineExceeded,
    ImageTooLarge,
    InvalidInput,
    NotReady,
    Overloaded,
    PermissionDenied,
    Retry,
    ServerFault,
    TriptychError,
    UnreadableImage,
)
from triptych._core.retry import RetryBudget
from triptych.testing import FakeServer, fake_client

PHOTO = b"a shoe"
QUICK = Retry(tries=3, first_pause_s=0.0001)
# Names and lists may stand for several servers.
ONE = "10.0.0.7:8001"
TWO = "10.0.0.7:8001,10.0.0.8:8001"


@pytest.mark.parametrize("error", [Overloaded, NotReady, ConnectionFailed])
def test_call_is_sent_again_when_the_server_was_unavailable(fake: FakeServer, error: type[TriptychError]) -> None:
    fake.fail_next(error, times=2)
    with fake_client(fake, retry=QUICK) as patient:
        assert patient.recognize(PHOTO).timing.tries == 3
    assert len({request.request_id for request in fake.requests}) == 1


@pytest.mark.parametrize(
    "error",
    [
        InvalidInput,
        UnreadableImage,
        ImageTooLarge,
        PermissionDenied,
        DeadlineExceeded,
        ContractMismatch,
        ServerFault,
    ],
)
def test_call_is_sent_once_when_another_try_would_end_the_same(fake: FakeServer, error: type[TriptychError]) -> None:
    fake.fail_next(error)
    with fake_client(fake, retry=QUICK) as client, pytest.raises(error):
        client.recognize(PHOTO)
    assert len(fake.requests) == 1


def test_last_error_is_raised_when_all_tries_fail(fake: FakeServer) -> None:
    fake.fail_next(Overloaded, times=2)
    fake.fail_next(NotReady)
    with fake_client(fake, target=ONE, retry=QUICK) as client, pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert len(fake.requests) == 3


def test_retry_is_not_begun_when_its_pause_outlasts_the_deadline(fake: FakeServer) -> None:
    fake.fail_next(NotReady)
    patient = Retry(first_pause_s=60, max_pause_s=60)
    with fake_client(fake, target=ONE, timeout_s=0.5, retry=patient) as client, pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert len(fake.requests) == 1


def test_deadline_shrinks_from_try_to_try_when_a_call_is_repeated(fake: FakeServer) -> None:
    fake.delay_s = 0.02
    fake.fail_next(Overloaded, times=2)
    with fake_client(fake, timeout_s=5, retry=QUICK) as client:
        client.recognize(PHOTO)
    left_s = [recorded.timeout_s for recorded in fake.calls]
    assert all(later <= earlier - 0.02 for earlier, later in itertools.pairwise(left_s))


def test_try_is_given_up_and_repeated_when_it_outlasts_its_own_limit(fake: FakeServer) -> None:
    with fake_client(fake, timeout_s=5, retry=Retry(tries=2, first_pause_s=0.0001, try_timeout_s=0.05)) as client:
        client.recognize(PHOTO)
        fake.fail_next(DeadlineExceeded)
        assert client.recognize(PHOTO).timing.tries == 2
    assert fake.calls[-1].timeout_s == 0.05


def test_pauses_double_within_their_half_when_tries_fail() -> None:
    retry = Retry(tries=9, first_pause_s=0.1, max_pause_s=0.5)
    error = Overloaded("full")
    for tries_made, longest_s in ((1, 0.1), (2, 0.2), (3, 0.4), (4, 0.5), (8, 0.5)):
        pauses_s = {retry.pause_s(tries_made, error) for _ in range(50)}
        assert len(pauses_s) > 1, "callers who failed together come back apart"
        assert all(pause_s is not None and longest_s / 2 <= pause_s <= longest_s for pause_s in pauses_s)
    assert retry.pause_s(9, error) is None


def test_retries_stay_within_a_tenth_of_the_load_when_everything_fails() -> None:
    retry = Retry(budget=0.1, burst=5)
    budget = RetryBudget()
    taken = 0
    for _ in range(1000):
        budget.note_call(retry)
        taken += budget.take(retry)
    # One a ten calls, and the burst once; the sums of tenths round.
    assert 100 <= taken <= 106


def test_calls_add_at_most_the_budget_when_a_server_is_down(fake: FakeServer) -> None:
    with fake_client(fake, retry=Retry(tries=10, first_pause_s=0.0001, budget=0.1, burst=10)) as client:
        client.recognize(PHOTO)
        fake.calls.clear()
        fake.fail_next(ConnectionFailed, times=10_000)
        for _ in range(200):
            with pytest.raises(ConnectionFailed):
                client.recognize(PHOTO)
    assert 200 + 20 <= len(fake.requests) <= 200 + 20 + 11


@pytest.mark.parametrize("target", [TWO, "dns:///triptych:8001", "triptych:8001"])
def test_server_that_goes_away_is_left_for_another_within_no_budget(fake: FakeServer, target: str) -> None:
    fake.fail_next(NotReady, times=8)
    strict = Retry(tries=2, first_pause_s=0.0001, budget=0, burst=0)
    with fake_client(fake, target=target, retry=strict) as client:
        assert client.recognize(PHOTO).timing.tries == 9


def test_single_address_has_no_other_to_go_to(fake: FakeServer) -> None:
    fake.fail_next(NotReady, times=8)
    with fake_client(fake, target=ONE, retry=QUICK) as client, pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert len(fake.requests) == 3


def test_tries_elsewhere_end_and_then_the_others_count(fake: FakeServer) -> None:
    fake.fail_next(NotReady, times=100)
    with fake_client(fake, target=TWO, retry=QUICK, timeout_s=30) as client, pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert len(fake.requests) == 19 + 3


def test_one_try_is_one_when_there_are_several_servers(fake: FakeServer) -> None:
    fake.fail_next(NotReady)
    with fake_client(fake, target=TWO, retry=Retry(tries=1)) as client, pytest.raises(NotReady):
        client.recognize(PHOTO)
    assert len(fake.requests) == 1


def test_full_queue_elsewhere_costs_the_budget(fake: FakeServer) -> None:
    fake.fail_next(Overloaded)
    with fake_client(fake, target=TWO, retry=Retry(burst=0)) as client, pytest.raises(Overloaded):
        client.recognize(PHOTO)
