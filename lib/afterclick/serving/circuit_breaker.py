"""Stops asking a store that does not answer: an outage must not cost every request a time-out."""

from collections.abc import Callable


class CircuitBreaker:
    """Opens after some failures in a row; then lets one request at a time try whether the store is back.

    Parameters
    ----------
    failures
        Failures in a row that open it.
    open_seconds
        How long it stays open before each trial.
    clock
        Monotonic seconds.

    References
    ----------
    Nygard, "Release It!" (2nd ed., 2018), chapter 5, "Circuit Breaker".
    """

    def __init__(self, failures: int, open_seconds: float, clock: Callable[[], float]) -> None:
        self._limit = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._failed_in_a_row = 0
        self._try_again_at = 0.0

    @property
    def is_open(self) -> bool:
        """Tell whether the last requests failed."""
        return self._failed_in_a_row >= self._limit

    def may_ask(self) -> bool:
        """Tell whether this request may ask the store; an open breaker says yes once in `open_seconds`."""
        if not self.is_open:
            return True
        if self._clock() < self._try_again_at:
            return False
        self._try_again_at = self._clock() + self._open_seconds
        return True

    def succeeded(self) -> None:
        """Close."""
        self._failed_in_a_row = 0

    def failed(self) -> None:
        """Count a failure; open at the limit."""
        self._failed_in_a_row += 1
        if self.is_open:
            self._try_again_at = self._clock() + self._open_seconds
