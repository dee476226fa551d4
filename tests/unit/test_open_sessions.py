"""The benchmark of open sessions, small: what it measures holds the sessions and survives a restart."""

from afterclick.benchmarks.open_sessions import measure


def test_measure_keeps_all_sessions_open_and_the_same_after_a_restart() -> None:
    figures = measure(announce=lambda _: None, sessions=4_000, batch=400, runs=1)

    assert (figures["open_sessions"], figures["same_after_restart"]) == (4_000, True)
