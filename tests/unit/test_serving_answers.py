"""Answers: exclusions, filling up, explanations, never empty."""

import numpy as np

from afterclick.connectors.redis_store import ListedItem, TopList
from afterclick.models import item_keys
from afterclick.serving.answers import Hidden, build_answer

POPULAR = TopList("v1", "popular", 0, 1, [ListedItem(name, 0.1, "popular") for name in "abcd"])
PERSONAL = TopList(
    "v1", "fold_in", 5000, 6000, [ListedItem(name, 0.9, "because_you_interacted", "z", 0.7) for name in "xab"]
)
NOBODY: frozenset[str] = frozenset()


def ids(answer: object) -> str:
    return "".join(item.item_id for item in answer.items)  # type: ignore[attr-defined]


def test_build_answer_gives_the_personal_list_in_order() -> None:
    answer = build_answer(PERSONAL, POPULAR, n=2, excluded=NOBODY, explain=False, now_ms=9000)

    assert (ids(answer), answer.source, answer.fresh_as_of) == ("xa", "fold_in", "1970-01-01T00:00:05.000Z")
    assert answer.generated_at == "1970-01-01T00:00:06.000Z"
    assert [item.rank for item in answer.items] == [1, 2]
    assert answer.items[0].because is None


def test_build_answer_gives_the_list_for_the_next_visit_once_this_one_is_over() -> None:
    later = [ListedItem("y", 0.9, "again")]
    two = TopList("v1", "fold_in", 5000, 6000, PERSONAL.items, later=later, later_after_ms=9000)

    shown = [build_answer(two, POPULAR, n=1, explain=False, now_ms=now_ms) for now_ms in (9000, 9001)]

    assert [ids(answer) for answer in shown] == ["x", "y"]


def test_build_answer_fills_up_with_popular_items_once_each() -> None:
    answer = build_answer(PERSONAL, POPULAR, n=5, excluded=frozenset("a"), explain=True, now_ms=9000)

    assert ids(answer) == "xbcd"
    assert [item.reason for item in answer.items] == ["because_you_interacted"] * 2 + ["popular"] * 2
    assert (answer.items[0].because, answer.items[0].share) == ("z", 0.7)


def test_build_answer_gives_the_popular_list_when_nothing_is_known() -> None:
    answer = build_answer(None, POPULAR, n=3, excluded=NOBODY, explain=False, now_ms=9000)

    assert (ids(answer), answer.source, answer.fresh_as_of) == ("abc", "popular", None)
    assert answer.generated_at == "1970-01-01T00:00:09.000Z"


def test_build_answer_takes_from_the_catalogue_when_the_lists_do_not_suffice() -> None:
    hidden = Hidden(frozenset("xab"), frozenset("c"), frozenset(item_keys(["d"]).tolist()))

    answer = build_answer(PERSONAL, POPULAR, n=2, hidden=hidden, fallback="abcdef", explain=False, now_ms=9000)

    assert ids(answer) == "ef"


def test_no_request_of_100_000_gets_an_empty_list_or_an_item_that_is_hidden_or_twice() -> None:
    draw = np.random.default_rng(8)
    catalogue = [f"i{number}" for number in range(60)]
    keys = item_keys(catalogue).tolist()

    def some(most: int) -> list[int]:
        return [int(row) for row in draw.permutation(60)[: draw.integers(0, most)]]

    def top(rows: list[int], source: str) -> TopList:
        return TopList("v1", source, 1, 1, [ListedItem(catalogue[row], 0.5, source) for row in rows])

    lists = [(top(some(12), "fold_in"), top(some(12), "popular")) for _ in range(500)]
    hides = [(some(25), some(10), some(20)) for _ in range(500)]
    for _ in range(100_000):
        personal, popular = lists[draw.integers(500)]
        excluded, withdrawn, seen = hides[draw.integers(500)]
        n = int(draw.integers(1, 12))
        hidden = Hidden(
            frozenset(catalogue[row] for row in excluded),
            frozenset(catalogue[row] for row in withdrawn),
            frozenset(keys[row] for row in seen),
        )

        answer = build_answer(personal, popular, n=n, hidden=hidden, fallback=catalogue, explain=False, now_ms=1)

        got = [item.item_id for item in answer.items]
        barred = {catalogue[row] for row in (*excluded, *withdrawn, *seen)}
        assert len(got) == len(set(got)) == min(n, 60 - len(barred))
        assert not barred & set(got)
