"""The breaker: opens at the limit, tries once in a while, closes at the first success."""

import pytest

from afterclick.serving.circuit_breaker import CircuitBreaker


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def failing(clock: Clock, times: int) -> CircuitBreaker:
    breaker = CircuitBreaker(3, 1.0, clock)
    for _ in range(times):
        breaker.failed()
    return breaker


def test_breaker_asks_one_failure_before_the_limit(clock: Clock) -> None:
    assert failing(clock, 2).may_ask()


def test_breaker_does_not_ask_at_the_limit(clock: Clock) -> None:
    assert not failing(clock, 3).may_ask()


def test_breaker_lets_one_request_try_after_the_pause(clock: Clock) -> None:
    breaker = failing(clock, 3)
    clock.now += 1.0

    assert [breaker.may_ask(), breaker.may_ask()] == [True, False]


def test_breaker_waits_again_when_the_trial_fails(clock: Clock) -> None:
    breaker = failing(clock, 3)
    clock.now += 1.0
    breaker.may_ask()
    breaker.failed()

    assert not breaker.may_ask()


def test_breaker_closes_at_the_first_success(clock: Clock) -> None:
    breaker = failing(clock, 3)
    breaker.succeeded()
    breaker.failed()

    assert [breaker.may_ask(), breaker.may_ask(), breaker.is_open] == [True, True, False]
