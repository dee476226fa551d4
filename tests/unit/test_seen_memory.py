"""What people had is remembered for an hour, of a bounded number of them."""

from afterclick.serving.seen_memory import KEPT_SECONDS, SeenMemory


def test_the_last_reading_counts_for_an_hour() -> None:
    now = [0.0]
    memory = SeenMemory(10, lambda: now[0])
    memory.keep("ada", frozenset({1}))
    memory.keep("ada", frozenset({1, 2}))

    now[0] = KEPT_SECONDS
    assert memory.recall("ada") == frozenset({1, 2})
    now[0] += 1
    assert memory.recall("ada") is None
    assert memory.recall("bob") is None


def test_of_more_people_than_fit_the_oldest_are_forgotten() -> None:
    memory = SeenMemory(2, lambda: 0.0)
    for name in ("ada", "bob", "ada", "cyd"):
        memory.keep(name, frozenset())

    assert [memory.recall(name) for name in ("ada", "bob", "cyd")] == [frozenset(), None, frozenset()]
