"""Answers: exclusions, filling up, explanations, never empty."""

from afterclick.connectors.redis_store import ListedItem, TopList
from afterclick.serving.app import build_answer

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


def test_build_answer_fills_up_with_popular_items_once_each() -> None:
    answer = build_answer(PERSONAL, POPULAR, n=5, excluded=frozenset("a"), explain=True, now_ms=9000)

    assert ids(answer) == "xbcd"
    assert [item.reason for item in answer.items] == ["because_you_interacted"] * 2 + ["popular"] * 2
    assert (answer.items[0].because, answer.items[0].share) == ("z", 0.7)


def test_build_answer_gives_the_popular_list_when_nothing_is_known() -> None:
    answer = build_answer(None, POPULAR, n=3, excluded=NOBODY, explain=False, now_ms=9000)

    assert (ids(answer), answer.source, answer.fresh_as_of) == ("abc", "popular", None)
    assert answer.generated_at == "1970-01-01T00:00:09.000Z"
