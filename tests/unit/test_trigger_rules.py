"""Trigger rules through `triggers.advance_triggers`, against plain models that look at the whole history each time."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from afterclick.activity_rules import CART, SEEN, VIEW
from afterclick.session_shards import ARRIVING
from afterclick.trigger_conditions import enough, read_condition
from afterclick.trigger_rules import CartAbandonment, Condition, RepeatedVisits, ReturnAfterAbsence, Rule
from afterclick.triggers import BEGINNING, FIRED, TriggerChange, TriggerShard, advance_triggers

MINUTE = 60_000_000
CARTS = CartAbandonment("left", cooldown=40, after=20, forget=60)
DELAY = 10
Fired = tuple[str, str, int, int, tuple[str, ...]]


@dataclass(frozen=True)
class Event:
    at: int
    kind: str
    item: str = "mug"
    subject: str = "ada"
    allowed: bool = True
    partition: int = 0


def as_arriving(events: Sequence[Event]) -> pa.Table:
    rows = [
        {
            "subject_id": event.subject, "event_key": number, "event_type": event.kind, "event_us": event.at,
            "received_us": event.at, "item_ids": event.item.split("+"), "may_trigger": event.allowed,
            "partition": event.partition, "page_path": f"/{event.item}",
        }
        for number, event in enumerate(events)
    ]  # fmt: skip
    return pa.Table.from_pylist(rows, schema=ARRIVING)


def fire(rules: Sequence[Rule], *batches: Sequence[Event], delay: int = DELAY, floor: int = BEGINNING) -> list[Fired]:
    """Return what the batches fire, one after the other; `floor` counts for an empty last batch."""
    shard, fired = TriggerShard.empty(), []
    for number, events in enumerate([*batches, []]):
        end = floor if number == len(batches) else BEGINNING
        change = advance_triggers(shard, as_arriving(events), rules, delay_us=delay, floor_us=end)
        shard = change.shard
        fired += change.fired.to_pylist()
    assert len({row["trigger_id"] for row in fired}) == len(fired)
    return [(r["rule"], r["subject_id"], r["due_us"], r["anchor_us"], tuple(r["item_ids"])) for r in fired]


def test_cart_fires_after_the_last_action_with_what_is_left_in_it_most_recent_first() -> None:
    events = [
        Event(0, "cart", "mug"),
        Event(5, "cart", "cup"),
        Event(6, "cart", "pot"),
        Event(9, "remove_from_cart", "cup"),
    ]

    assert fire([CARTS], events, floor=29) == [("left", "ada", 29, 9, ("pot", "mug"))]


def test_cart_does_not_fire_before_the_clock_is_there() -> None:
    assert fire([CARTS], [Event(0, "cart")], floor=19) == []


def test_cart_does_not_fire_when_ordered_exactly_at_the_deadline_and_does_one_later() -> None:
    assert fire([CARTS], [Event(0, "cart"), Event(20, "purchase")], floor=99) == []
    assert fire([CARTS], [Event(0, "cart"), Event(21, "purchase")], floor=99) == [("left", "ada", 20, 0, ("mug",))]


def test_cart_does_not_fire_when_everything_was_taken_out() -> None:
    assert fire([CARTS], [Event(0, "cart"), Event(1, "remove_from_cart")], floor=99) == []


def test_cart_is_cancelled_by_an_order_that_arrives_late_but_before_the_decision() -> None:
    assert fire([CARTS], [Event(0, "cart"), Event(25, "view")], [Event(3, "purchase")], floor=99) == []


def test_cart_is_empty_after_an_order_even_of_what_arrives_after_the_order_was_decided_upon() -> None:
    ordered = [Event(0, "cart"), Event(5, "purchase"), Event(16, "view")]

    fired = fire([CARTS], ordered, [Event(3, "cart", "cup"), Event(17, "cart", "pot")], floor=999)

    assert fired == [("left", "ada", 37, 17, ("pot",))]


def test_cart_fires_again_only_after_the_cooldown() -> None:
    events = [Event(0, "cart"), Event(30, "cart", "cup"), Event(60, "cart", "pot")]

    assert [due for _, _, due, _, _ in fire([CARTS], events, floor=999)] == [20, 80]


def test_cart_remembers_the_cooldown_of_a_person_without_recent_events() -> None:
    rule = CartAbandonment("left", cooldown=1000, after=20, forget=60)

    assert [due for _, _, due, _, _ in fire([rule], [Event(0, "cart")], [Event(500, "view", subject="bob")],
                                            [Event(600, "cart")], floor=900)] == [20]  # fmt: skip


def test_nothing_fires_without_consent_and_withdrawal_cancels() -> None:
    assert fire([CARTS], [Event(0, "cart", allowed=False)], floor=99) == []
    assert fire([CARTS], [Event(0, "cart"), Event(5, "view", allowed=False)], floor=99) == []


def test_a_partition_that_lags_is_decided_by_its_own_clock() -> None:
    ahead = Event(500, "view", subject="bob", partition=1)

    assert fire([CARTS], [Event(0, "cart"), ahead], [Event(15, "purchase")], floor=99) == []


def test_a_redelivered_event_changes_nothing() -> None:
    cart = Event(0, "cart")

    assert fire([CARTS], [cart, cart], [cart, Event(40, "view")], [cart], floor=999) == [
        ("left", "ada", 20, 0, ("mug",))
    ]


VISITS = RepeatedVisits("looks", cooldown=1, of="item", times=3, within=10)


def test_visits_fire_at_the_third_exactly_within_and_not_one_unit_later() -> None:
    looks = [Event(0, "view"), Event(5, "view"), Event(10, "view")]

    assert fire([VISITS], looks, floor=99) == [("looks", "ada", 10, 10, ("mug",))]
    assert fire([VISITS], [*looks[:2], Event(11, "view")], floor=99) == []


def test_visits_start_anew_after_a_purchase_of_the_item() -> None:
    looks = [Event(0, "view"), Event(5, "view"), Event(10, "view")]

    assert fire([VISITS], [*looks, Event(7, "purchase")], floor=99) == []
    assert len(fire([VISITS], [*looks, Event(7, "purchase", "cup")], floor=99)) == 1


def test_visits_of_a_page_count_events_on_it() -> None:
    rule = RepeatedVisits("reads", cooldown=1, of="page", times=2, within=10)

    assert [due for _, _, due, _, _ in fire([rule], [Event(0, "page"), Event(4, "view")], floor=99)] == [4]


BACK = ReturnAfterAbsence("back", cooldown=1, absence=100)


def test_return_fires_exactly_at_the_absence_and_not_one_unit_sooner() -> None:
    assert fire([BACK], [Event(0, "view")], [Event(100, "view")], floor=999) == [("back", "ada", 100, 100, ())]
    assert fire([BACK], [Event(0, "view")], [Event(99, "view")], floor=999) == []


def test_return_fires_for_a_known_person_only_and_remembers_the_last_visit() -> None:
    others = [[Event(at, "view", subject="bob")] for at in range(50, 300, 50)]

    assert fire([BACK], [Event(0, "view")], *others, [Event(301, "view")], floor=999) == [("back", "ada", 301, 301, ())]


def condition(when: str, cooldown: int = 1) -> Condition:
    variables, holds = read_condition(when)
    return Condition("spree", cooldown, when, variables, holds)


def test_condition_sees_the_window_up_to_and_with_the_event() -> None:
    rule = condition("views_30m >= 2 and carts_30m == 0", cooldown=MINUTE)
    looks = [Event(0, "view"), Event(30 * MINUTE, "view"), Event(59 * MINUTE, "view", "cup")]

    assert [due for _, _, due, _, _ in fire([rule], looks, floor=99 * MINUTE)] == [59 * MINUTE]
    assert fire([rule], [*looks, Event(58 * MINUTE, "cart")], floor=99 * MINUTE) == []


def test_condition_halves_what_is_two_hours_old() -> None:
    rule = condition("views_decayed == 1.5")

    assert len(fire([rule], [Event(0, "view"), Event(120 * MINUTE, "view")], floor=999 * MINUTE)) == 1


def plain_carts(known: list[Event], lower: int, upper: int) -> list[tuple[int, int, tuple[str, ...]]]:
    """One person's abandoned carts due in (lower, upper], from everything known, before the cooldown."""
    events = sorted(
        set(known), key=lambda e: (e.at, ["cart", "remove_from_cart", "view", "purchase"].index(e.kind), e.item)
    )
    found = []
    for action in {event.at for event in events if event.kind in {"cart", "remove_from_cart"}}:
        due = action + CARTS.after
        disturbing = [
            e
            for e in events
            if e.kind != "view" and (action < e.at <= due or (e.at == action and e.kind == "purchase"))
        ]
        if disturbing or not lower < due <= upper:
            continue
        cart: dict[str, int] = {}
        for event in (e for e in events if e.at <= action):
            if event.kind == "purchase":
                cart.clear()
            elif action - event.at <= CARTS.forget and event.kind == "cart":
                cart[event.item] = event.at
            elif action - event.at <= CARTS.forget and event.kind == "remove_from_cart":
                cart.pop(event.item, None)
        if cart:
            found.append((due, action, tuple(sorted(cart, key=lambda item: (cart[item], item), reverse=True))))
    return sorted(found)


histories = st.lists(
    st.builds(
        Event,
        st.integers(0, 200),
        st.sampled_from(["cart", "cart", "remove_from_cart", "view", "purchase"]),
        st.sampled_from(["cup", "mug"]),
        st.sampled_from(["ada", "bob"]),
    ),
    min_size=1,
    max_size=40,
)


def in_batches(ordered: Sequence[Event], draw: Any, cuts: int) -> list[Sequence[Event]]:
    """Cut at random places; a batch may be empty."""
    ends = sorted([*(draw.randrange(len(ordered) + 1) for _ in range(cuts)), len(ordered)])
    return [ordered[begin:end] for begin, end in zip([0, *ends], ends, strict=False)]


@settings(max_examples=600, deadline=None)
@given(histories, st.randoms(use_true_random=False), st.integers(0, 6), st.sampled_from([0, 9, 60]))
def test_carts_fire_as_a_plain_event_time_model_says(events: list[Event], draw: Any, cuts: int, disorder: int) -> None:
    """Any split; within the delay the model knows everything, with later events (60) what had arrived by the decision."""
    ordered = sorted(events, key=lambda event: event.at + draw.uniform(0, disorder))
    batches = in_batches(ordered, draw, cuts)
    ends = list(accumulate(map(len, batches)))

    fired = fire([CARTS], *batches, floor=10_000)

    expected = []
    steps = [(ends[n], max((e.at for e in ordered[: ends[n]]), default=BEGINNING) - DELAY) for n in range(len(ends))]
    if disorder <= DELAY:
        steps = []
    for name in ("ada", "bob"):
        last, lower = BEGINNING, BEGINNING
        for end, upper in [*steps, (len(ordered), 10_000)]:
            known = [event for event in ordered[:end] if event.subject == name]
            for due, anchor, items in plain_carts(known, lower, upper):
                if due - last >= CARTS.cooldown:
                    last = due
                    expected.append(("left", name, due, anchor, items))
            lower = max(lower, upper)
    assert sorted(fired) == sorted(expected)
    for _, name, due, anchor, _ in fired:
        if disorder <= DELAY:
            assert not [e for e in events if e.subject == name and e.kind == "purchase" and anchor <= e.at <= due]


all_rules = [
    CARTS, VISITS, BACK, condition("events_30m >= 6", cooldown=9), RepeatedVisits("p", 30, of="page", times=2, within=5),
]  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(histories, st.randoms(use_true_random=False), st.integers(1, 6))
def test_every_rule_fires_the_same_for_any_split_and_order_within_the_delay(
    events: list[Event], draw: Any, cuts: int
) -> None:
    """The whole log at once is what `afterclick triggers replay` does: so it equals what the stream fired."""
    ordered = sorted(events, key=lambda event: event.at + draw.uniform(0, DELAY - 1))
    batches = in_batches(ordered, draw, cuts)

    assert sorted(fire(all_rules, *batches, floor=10_000)) == sorted(fire(all_rules, events, floor=10_000))


@given(histories, st.randoms(use_true_random=False), st.integers(0, 6), st.sampled_from([0, 60]))
def test_who_looks_again_whenever_something_can_be_due_misses_nothing(
    events: list[Event], draw: Any, cuts: int, disorder: int
) -> None:
    """A shard where nothing more happens is looked at then, and not before."""
    batches = in_batches(sorted(events, key=lambda event: event.at + draw.uniform(0, disorder)), draw, cuts)
    change = TriggerChange(TriggerShard.empty(), FIRED.empty_table(), None)
    fired = 0
    for batch in batches:
        change = advance_triggers(change.shard, as_arriving(batch), all_rules, delay_us=DELAY)
        fired += len(change.fired)
    while change.next_us is not None:
        reached = [change.next_us - 1, change.next_us]
        early, change = (
            advance_triggers(change.shard, as_arriving([]), all_rules, delay_us=DELAY, floor_us=at) for at in reached
        )
        assert len(early.fired) == 0
        fired += len(change.fired)

    assert fired == len(fire(all_rules, *batches, floor=10_000))


HOUR = 60 * MINUTE
EVERY_KIND = [
    "cart",
    "cart",
    "remove_from_cart",
    "remove_from_cart",
    "view",
    "view",
    "view",
    "purchase",
    "page",
    "identify",
]
rules_of_hours: list[Rule] = [
    CartAbandonment("left", cooldown=MINUTE, after=10 * MINUTE, forget=30 * MINUTE),
    RepeatedVisits("v", HOUR, of="item", times=2, within=2 * HOUR),
    RepeatedVisits("p", HOUR, of="page", times=3, within=HOUR),
    ReturnAfterAbsence("back", cooldown=0, absence=30 * MINUTE),
    replace(condition("views_30m >= 1 and carts_24h == 0", cooldown=HOUR), name="looks"),
    replace(condition("purchases_2h >= 2", cooldown=HOUR), name="buys"),
    replace(condition("events_2h >= 4", cooldown=HOUR), name="busy"),
]


def a_day(seed: int) -> list[Event]:
    """Build a day of two people in which every rule fires, some events with two items, some without consent."""
    draw = random.Random(seed)
    steps = [draw.expovariate(1 / 4) for _ in range(400)]
    times = [round(at) * MINUTE for at in accumulate(steps)]
    items = ["cup", "mug", "pot", "cup+mug", "mug+pot"]
    return [
        Event(at, draw.choice(EVERY_KIND), draw.choice(items), draw.choice(["ada", "bob"]), draw.random() < 0.97)
        for at in times
    ]


@pytest.mark.parametrize("rule", rules_of_hours, ids=lambda rule: rule.name)
def test_what_is_forgotten_is_never_asked_for(rule: Rule) -> None:
    """Rules one by one: with all of them the longest memory of one would hide the others'."""
    fired = 0
    for seed in range(6):
        events = a_day(seed)
        batches = [events[begin : begin + 7] for begin in range(0, len(events), 7)]

        whole = fire([rule], events, floor=9999 * HOUR)

        assert sorted(fire([rule], *batches, floor=9999 * HOUR)) == sorted(whole)
        fired += len(whole)
    assert fired > 5


def test_of_a_day_of_views_the_state_keeps_those_that_a_rule_still_looks_at() -> None:
    events = [Event(minute * MINUTE, kind) for minute in range(24 * 60) for kind in ("view", "page", "identify")]
    events.append(Event(MINUTE, "cart"))
    rules = [rules_of_hours[number] for number in (1, 3)]
    rules.append(CartAbandonment("left", cooldown=0, after=HOUR, forget=24 * HOUR))

    shard = advance_triggers(TriggerShard.empty(), as_arriving(events), rules, delay_us=0).shard

    kinds = shard.recent["kind"].to_pylist()
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {VIEW: 120, CART: 1, SEEN: 1}


def in_hours(events: Sequence[Event]) -> list[Event]:
    """Stretch a history over three hours and a bit, so that windows of 30 minutes and 2 hours end within it."""
    return [replace(event, at=event.at * MINUTE) for event in events]


@settings(max_examples=300, deadline=None)
@given(histories, st.randoms(use_true_random=False), st.integers(1, 8), st.sampled_from([0, 60]))
@pytest.mark.parametrize("when", ["views_30m{} >= 2 and carts_2h{} == 0", "purchases_2h{} < 2 and events_30m{} >= 3"])
def test_only_the_newest_are_kept_of_what_is_counted_up_to_a_number_however_late_something_comes(
    when: str, events: list[Event], draw: Any, cuts: int, disorder: int
) -> None:
    ordered = in_hours(sorted(events, key=lambda event: event.at + draw.uniform(0, disorder)))
    batches = in_batches(ordered, draw, cuts)
    calculated = condition(when.format(" + 0", " + 0"))  # keeps all of the window

    fired = [
        fire([rule], *batches, delay=MINUTE, floor=999 * HOUR) for rule in (condition(when.format("", "")), calculated)
    ]

    assert fired[0] == fired[1]


@pytest.mark.parametrize(
    ("when", "expected"),
    [
        ("views_30m >= 15 and carts_24h == 0", {"views_30m": 16, "carts_24h": 1}),
        ("views_2h > 2.5 or 3 < views_2h < 7", {"views_2h": 8}),
        ("views_2h != -4", {"views_2h": 5}),
        ("views_2h + carts_2h > 3", {}),
        ("views_2h > carts_2h", {}),
        ("views_2h >= 3 and views_2h / carts_2h > 2", {}),
        ("not carts_2h", {}),
        ("views_decayed > 3", {}),
    ],
)
def test_a_count_makes_no_difference_beyond_all_it_is_compared_with(when: str, expected: dict[str, int]) -> None:
    assert enough(when) == expected


def test_what_is_remembered_grows_with_people_and_not_with_what_they_do() -> None:
    rules = [
        CartAbandonment("left", cooldown=0, after=HOUR, forget=24 * HOUR),
        condition("views_30m >= 2 and carts_24h == 0 and purchases_24h == 0"),
    ]
    visit = [("view", 0), ("cart", 1), ("view", 1), ("remove_from_cart", 2), ("cart", 3), ("purchase", 4)]

    def remembered(visits: int) -> list[int]:
        events = [Event((30 * number + at) * MINUTE, kind) for number in range(visits) for kind, at in visit]
        shard = TriggerShard.empty()
        for begin in range(0, len(events), 10):
            arriving = as_arriving(events[begin : begin + 10])
            shard = advance_triggers(shard, arriving, rules, delay_us=MINUTE).shard
        return sorted(shard.recent["kind"].to_pylist())

    assert remembered(40) == remembered(4) != remembered(0)


@pytest.mark.parametrize("rules", [[], [CARTS]])
def test_no_events_fire_nothing(rules: list[Rule]) -> None:
    assert fire(rules) == []
