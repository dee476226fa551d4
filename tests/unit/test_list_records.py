"""Lists as records: what was packed is unpacked, with scores to half a step; anything else is refused by name."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from afterclick.errors import StoreUnavailableError
from afterclick.list_records import (
    NO_NAMES,
    REASONS,
    ItemNames,
    TopList,
    pack_list,
    pack_names,
    unpack_list,
    unpack_names,
)
from afterclick.places import LEVELS, ListedItem

NAMES = ItemNames([f"item-{number}" for number in range(4_000)])
MS = st.integers(0, 2**42)


@st.composite
def places(draw: st.DrawFn) -> list[ListedItem]:
    """Draw a list, best first; some items and reasons are those of a trigger, which the model does not know."""
    items = draw(st.lists(st.sampled_from(NAMES.ids) | st.text(max_size=5), max_size=60))
    scores = draw(st.lists(st.floats(-1e3, 1e3, width=32), min_size=len(items), max_size=len(items)))
    reasons = st.sampled_from([*REASONS, "cart_abandonment", "price_drop"])
    return [ListedItem(item, score, draw(reasons)) for item, score in zip(items, sorted(scores)[::-1], strict=True)]


lists = st.builds(
    TopList,
    st.just("v"),
    st.sampled_from(["fold_in", "popular", "somewhere else"]),
    MS,
    MS,
    places(),
    st.none() | st.text(max_size=9),
    st.none() | places(),
    MS,
)


def without_scores(items: Sequence[ListedItem] | None) -> list[tuple[str, str]] | None:
    return [(item.item_id, item.reason) for item in items] if items else None


@given(lists)
@example(TopList("v", "fold_in", 5, 6, []))
def test_a_list_is_unpacked_as_packed_with_scores_to_half_a_step(top: TopList) -> None:
    found = unpack_list(pack_list(top, NAMES), "v", NAMES)

    kept = ("model_version", "source", "fresh_as_of_ms", "generated_at_ms", "trigger", "later_after_ms")
    assert [getattr(found, name) for name in kept] == [getattr(top, name) for name in kept]
    for one, other in ((found.items, top.items), (found.later, top.later)):
        assert without_scores(one) == without_scores(other)
        wanted = np.array([item.score for item in other or []])
        half = np.ptp(wanted) / (LEVELS - 1) / 2 if len(wanted) else 0.0
        rounding = 1e-6 + 1e-6 * np.abs(wanted).max(initial=0)
        np.testing.assert_allclose([item.score for item in one or []], wanted, rtol=0, atol=half + rounding)


@given(lists, st.sampled_from([-1, 0, 1]))
def test_what_is_shown_at_a_time_is_unpacked_alone_just_before_at_and_after_the_end_of_the_visit(
    top: TopList, after: int
) -> None:
    value, now_ms = pack_list(top, NAMES), top.later_after_ms + after

    found = unpack_list(value, "v", NAMES, now_ms)

    assert msgspec.structs.replace(found, items=list(found.items)) == unpack_list(value, "v", NAMES).at(now_ms)


def test_an_empty_later_list_is_none() -> None:
    top = TopList("v", "fold_in", 5, 6, [ListedItem("item-7", 0.5, "again")], later=[], later_after_ms=9)

    found = unpack_list(pack_list(top, NAMES), "v", NAMES)

    assert (found.later, found.later_after_ms) == (None, 9)


def test_what_a_trigger_put_in_front_keeps_its_place_and_its_id() -> None:
    front = [ListedItem("unknown", 0.2, "price_drop"), ListedItem("item-3", 0.9, "again")]

    found = unpack_list(pack_list(TopList("v", "fold_in", 5, 6, front, "a rule"), NAMES), "v", NAMES)

    assert [(item.item_id, item.reason) for item in found.items] == [("unknown", "price_drop"), ("item-3", "again")]
    assert found.trigger == "a rule"


def test_two_lists_of_fifty_take_less_than_three_bytes_a_place() -> None:
    draw = np.random.default_rng(1)
    items, later = (
        [ListedItem(NAMES.ids[row], 1 / place, REASONS[row % 5]) for place, row in enumerate(rows, 1)]
        for rows in draw.choice(4_000, (2, 50), replace=False)
    )
    top = TopList("v", "fold_in", 1_767_225_600_000, 1_767_225_600_200, items, None, later, 1_767_227_400_000)

    assert len(pack_list(top, NAMES)) <= 274


@given(lists, st.integers(0, 10_000))
def test_a_list_that_was_cut_is_refused(top: TopList, place: int) -> None:
    value = pack_list(top, NAMES)

    with pytest.raises(StoreUnavailableError, match="rebuild-cache"):
        unpack_list(value[: place % len(value)], "v", NAMES)


@given(lists, st.integers(0, 10_000), st.binary(min_size=1, max_size=12))
def test_a_list_that_was_changed_is_refused_or_another_list(top: TopList, place: int, noise: bytes) -> None:
    value = bytearray(pack_list(top, NAMES))
    place %= len(value)
    value[place : place + len(noise)] = noise

    with suppress(StoreUnavailableError):
        assert unpack_list(bytes(value), "v", NAMES).model_version == "v"


ONE = TopList("v", "fold_in", 5, 6, [ListedItem("item-7", 0.5, "again")])


def test_what_an_earlier_version_wrote_is_read_without_because_and_share() -> None:
    fields = msgspec.to_builtins(ONE)
    fields["items"][0] |= {"because": "item-8", "share": 0.5}

    assert unpack_list(msgspec.msgpack.encode(fields), "v", NO_NAMES) == ONE


@pytest.mark.parametrize("value", [b"", b"L", b"L1", b"something else", msgspec.msgpack.encode({"top": 1})], ids=repr)
def test_what_another_program_wrote_is_refused(value: bytes) -> None:
    with pytest.raises(StoreUnavailableError, match="Another program"):
        unpack_list(value, "v", NAMES)


def test_a_list_of_a_version_whose_items_are_not_known_is_refused() -> None:
    with pytest.raises(StoreUnavailableError, match=r"items of v: .*rebuild-cache"):
        unpack_list(pack_list(ONE, NAMES), "v", NO_NAMES)


def test_names_are_read_as_written() -> None:
    assert unpack_names(pack_names(["mug", "Ü"])).row_of == {"mug": 0, "Ü": 1}
