"""Token buckets, by a clock of our own."""

from __future__ import annotations

import pytest

from services.quota import Quota, QuotaError


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_zero_is_no_bound(clock: Clock) -> None:
    quota = Quota(0, clock)
    for _ in range(5):
        quota.take("shop", 10**9)


def test_what_is_used_up_comes_back_with_time(clock: Clock) -> None:
    quota = Quota(600, clock)
    quota.take("shop", 600)
    with pytest.raises(QuotaError) as caught:
        quota.take("shop", 1)
    assert (caught.value.status, caught.value.retry_after_s) == (429, 1)
    clock.now = 1.0
    quota.take("shop", 5)
    clock.now = 1000.0
    quota.take("shop", 600)  # no more than a minute's is kept
    with pytest.raises(QuotaError):
        quota.take("shop", 1)


def test_a_request_larger_than_the_bucket_is_let_through_once_and_paid_off(clock: Clock) -> None:
    quota = Quota(60, clock)
    quota.take("shop", 600)
    with pytest.raises(QuotaError) as caught:
        quota.take("shop", 1)
    assert caught.value.retry_after_s == 541
    clock.now = 541.0
    quota.take("shop", 1)


def test_the_estimate_is_settled_by_what_it_was(clock: Clock) -> None:
    quota = Quota(100, clock)
    quota.take("shop", 90)
    quota.settle("shop", 90, 10)
    quota.take("shop", 80)
    quota.settle("shop", 80, 95)
    with pytest.raises(QuotaError):
        quota.take("shop", 1)


def test_keys_have_buckets_of_their_own(clock: Clock) -> None:
    quota = Quota(10, clock)
    quota.take("shop", 100)
    quota.take("bank", 1)
    with pytest.raises(QuotaError):
        quota.take("shop", 1)
