"""Answers: exclusions, filling up, explanations, never empty."""

import random

from afterclick.list_records import TopList
from afterclick.models import item_keys
from afterclick.places import ListedItem
from afterclick.recommender import Explained
from afterclick.serving.answers import Carrier, build_answer, with_explanations
from afterclick.serving.catalogue import build_catalogue
from afterclick.serving.choosing import Hidden, Rules

POPULAR = TopList("v1", "popular", 0, 1, [ListedItem(name, 0.1, "popular") for name in "abcd"])
PERSONAL = TopList("v1", "fold_in", 5000, 6000, [ListedItem(name, 0.9, "because_you_interacted") for name in "xab"])
NOTHING = Hidden()


def ids(answer: object) -> str:
    return "".join(item.item_id for item in answer.items)  # type: ignore[attr-defined]


def test_build_answer_gives_the_personal_list_in_order() -> None:
    answer = build_answer(PERSONAL, POPULAR, rules=Rules(2), hidden=NOTHING, now_ms=9000)

    assert (ids(answer), answer.source, answer.fresh_as_of) == ("xa", "fold_in", "1970-01-01T00:00:05.000Z")
    assert answer.generated_at == "1970-01-01T00:00:06.000Z"
    assert [item.rank for item in answer.items] == [1, 2]
    assert answer.items[0].because is None


def test_build_answer_gives_the_list_for_the_next_visit_once_this_one_is_over() -> None:
    later = [ListedItem("y", 0.9, "again")]
    two = TopList("v1", "fold_in", 5000, 6000, PERSONAL.items, later=later, later_after_ms=9000)

    shown = [build_answer(two, POPULAR, rules=Rules(1), hidden=NOTHING, now_ms=now_ms) for now_ms in (9000, 9001)]

    assert [ids(answer) for answer in shown] == ["x", "y"]


def test_build_answer_fills_up_with_popular_items_once_each() -> None:
    answer = build_answer(PERSONAL, POPULAR, rules=Rules(5), hidden=Hidden(frozenset("a")), now_ms=9000)

    assert ids(answer) == "xbcd"
    assert [item.reason for item in answer.items] == ["because_you_interacted"] * 2 + ["popular"] * 2


def test_with_explanations_says_what_is_behind_the_places_that_are_explained() -> None:
    answer = build_answer(PERSONAL, POPULAR, rules=Rules(2), hidden=NOTHING, now_ms=9000)

    found = with_explanations(answer, {"a": Explained("z", 0.7, [("z", 1.0)])})

    assert ids(found) == "xa"
    assert [(item.because, item.share) for item in found.items] == [(None, None), ("z", 0.7)]
    assert found.items[1].carried_by == [Carrier(item_id="z", share=1.0)]


def test_build_answer_gives_the_popular_list_when_nothing_is_known() -> None:
    answer = build_answer(None, POPULAR, rules=Rules(3), hidden=NOTHING, now_ms=9000)

    assert (ids(answer), answer.source, answer.fresh_as_of) == ("abc", "popular", None)
    assert answer.generated_at == "1970-01-01T00:00:09.000Z"


def test_build_answer_takes_from_the_catalogue_when_the_lists_do_not_suffice() -> None:
    hidden = Hidden(frozenset("xab"), frozenset("c"), frozenset(item_keys(["d"]).tolist()))

    answer = build_answer(
        PERSONAL, POPULAR, rules=Rules(2), hidden=hidden, catalogue=build_catalogue("abcdef", {}), now_ms=9000
    )

    assert ids(answer) == "ef"


CATEGORY_OF = {"a": "mug", "b": "mug", "c": "bowl", "d": "bowl", "e": "mug", "x": "tea", "z": "tea"}
CATALOGUE = build_catalogue("abcde", CATEGORY_OF)


def test_a_category_filters_and_is_filled_up_with_its_popular_and_its_new_items() -> None:
    answers = {
        category: build_answer(
            PERSONAL, POPULAR, rules=Rules(4, category=category), hidden=NOTHING, catalogue=CATALOGUE, now_ms=9000
        )
        for category in ("mug", "tea")
    }

    assert {name: ids(answer) for name, answer in answers.items()} == {"mug": "abe", "tea": "xz"}
    assert [answer.relaxed for answer in answers.values()] == [[], []]


def test_a_category_without_an_item_that_may_be_shown_is_given_up_and_said_so() -> None:
    hidden = Hidden(withdrawn=frozenset("xz"))

    answer = build_answer(
        PERSONAL, POPULAR, rules=Rules(2, category="tea"), hidden=hidden, catalogue=CATALOGUE, now_ms=9000
    )

    assert (ids(answer), answer.relaxed) == ("ab", ["category"])


def test_pinned_items_come_first_once_each_unless_they_are_hidden() -> None:
    rules, hidden = Rules(4, pinned=("q", "c", "q", "d")), Hidden(withdrawn=frozenset("d"))

    answer = build_answer(PERSONAL, POPULAR, rules=rules, hidden=hidden, now_ms=9000)

    assert ids(answer) == "qcxa"
    assert [item.reason for item in answer.items[:2]] == ["pinned", "pinned"]


def test_a_cap_leaves_items_of_a_full_category_out_until_nothing_else_is_left() -> None:
    rules = Rules(4, per_category=1)

    capped = build_answer(PERSONAL, POPULAR, rules=rules._replace(n=3), hidden=NOTHING, catalogue=CATALOGUE, now_ms=1)
    filled = build_answer(PERSONAL, POPULAR, rules=rules, hidden=NOTHING, catalogue=CATALOGUE, now_ms=1)

    assert (ids(capped), capped.relaxed) == ("xac", [])
    assert (ids(filled), filled.relaxed) == ("xacb", ["per_category"])


def test_an_explored_place_has_an_item_from_below_the_list_and_pinned_ones_stay() -> None:
    rules = Rules(3, pinned=("q",), reserve=2)
    shown = []
    for seed in range(200):
        exploring = (1.0, random.Random(seed))
        answer = build_answer(PERSONAL, POPULAR, rules=rules, hidden=NOTHING, now_ms=1, exploring=exploring)
        shown.append((ids(answer), tuple(item.propensity for item in answer.items)))

    assert {names for names, _ in shown} == {"qba", "qca", "qxb", "qxc"}
    assert dict(shown)["qba"] == (1.0, 0.25, 0.5)
