"""A query that hangs in a batch is ended; one that waits for data, or goes on slowly, is not."""

from afterclick.watchdog import Watchdog


def looks(*seen: tuple[float, int, bool]) -> list[bool]:
    """Return what the watchdog says at each look: time, batch, busy."""
    watchdog = Watchdog(10.0)
    return [watchdog.has_stood_still("q", batch, is_busy=busy, now=now) for now, batch, busy in seen]


def test_a_batch_of_exactly_the_limit_is_not_stalled_and_one_second_later_it_is() -> None:
    assert looks((0, 1, True), (10, 1, True), (11, 1, True)) == [False, False, True]


def test_progress_begins_the_time_anew() -> None:
    assert looks((0, 1, True), (9, 2, True), (19, 2, True), (20, 2, True)) == [False, False, False, True]


def test_waiting_for_data_is_not_standing_still() -> None:
    assert looks((0, 1, False), (100, 1, False), (200, 1, True), (209, 1, True)) == [False] * 4
