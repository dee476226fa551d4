"""The benches of skew and of triggers: what they send, and that they would find what sampling must not do."""

from itertools import count
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.benchmarks.skew import BOT, closing_message, kept_counts, with_hot_subject
from afterclick.benchmarks.triggers import AFTER_SECONDS, RULE, Leaver, Watch
from afterclick.schemas import EVENT
from afterclick.schemas_sessions import SESSION, UNSESSIONED_EVENT
from afterclick.setting_sections import PRIORITY_TYPES
from builders import NOW, make_session, rows_of

MESSAGES = [
    {"userId": "ada", "event": event, "messageId": f"m{number}", "properties": {"product_id": "mug"}, "type": "track"}
    for number, event in enumerate(["Product Viewed"] * 399 + ["Order Completed"])
]


def test_half_is_the_hot_subject_s_and_the_last_of_two_never_is() -> None:
    sent = list(with_hot_subject(iter(MESSAGES), count()))

    assert [message["userId"] for message in sent] == [BOT, "ada"] * len(MESSAGES)
    assert len({message["messageId"] for message in sent}) == len(sent)
    own = [message for message in sent if message["userId"] == BOT]
    assert sum(message["type"] == "identify" for message in own) == 2
    assert sum(message["event"] == "Product Added" for message in own if message["type"] == "track") == 6
    assert own[-1]["event"] == "Order Completed"


def test_what_closes_the_sessions_is_never_sampled() -> None:
    assert closing_message(NOW)["type"] in PRIORITY_TYPES


@pytest.mark.parametrize("lost", [0, 1])
def test_kept_counts_scale_back_and_tell_a_cart_that_was_sampled(spark: SparkSession, lost: int) -> None:
    kinds = ["view"] * 40 + ["cart"] * 4 + ["identify"] * 2
    base = {
        "subject_id": "ada",
        "event_at": NOW,
        "received_at": NOW,
        "event_date": NOW.date(),
        "items": [],
        "consent": [],
    }
    events = rows_of(spark, EVENT, [base | {"event_id": f"e{n}", "event_type": kind} for n, kind in enumerate(kinds)])
    counts = {"view_count": 8, "cart_count": 3 - lost, "page_count": 0, "event_count": 13 - lost}
    sessions = rows_of(spark, SESSION, [make_session(**counts, estimated_event_count=8 / 0.25 + 5)])
    late = [
        base | {"event_id": f"l{kind}", "event_type": kind, "watermark_at": NOW, "batch_id": 0, "sample_rate": rate}
        for kind, rate in (("cart", 1.0), ("view", 0.125))
    ]

    found = kept_counts(events, sessions, rows_of(spark, UNSESSIONED_EVENT, late))

    assert found["events"] == 46
    assert found["kept"] == round((15 - lost) / 46, 4)
    assert found["scaled_error"] == 0.0
    assert found["priority"] == 6
    assert found["priority_lost"] == {"cart": lost, "purchase": 0, "remove_from_cart": 0, "identify": 0}


def test_a_list_counts_only_if_it_was_looked_at_before_it_changed() -> None:
    def leaver(name: str, item_id: str, at: float) -> Leaver:
        return Leaver({"userId": name, "properties": {"product_id": item_id}}, at, counts=True)

    def answers(**triggers: str | None) -> dict[str, Any]:
        return {name: {"trigger": trigger, "items": [{"item_id": "cup"}]} for name, trigger in triggers.items()}

    watch = Watch([leaver("late", "cup", 0), leaver("ada", "mug", 1), leaver("bob", "cup", 2), leaver("eve", "cup", 9)])

    first = watch.choose(AFTER_SECONDS + 3)
    watch.take(answers(late=RULE, ada=None, bob=None), first, AFTER_SECONDS + 3)
    second = watch.choose(AFTER_SECONDS + 4)
    watch.take(answers(ada=RULE, bob="another rule"), second, AFTER_SECONDS + 4)

    assert (list(first), list(second)) == (["late", "ada", "bob"], ["ada", "bob"])
    assert (watch.seen_at, watch.missed, watch.wrong) == ({"ada": AFTER_SECONDS + 4}, {"late"}, 1)
    assert list(watch.choose(AFTER_SECONDS + 10)) == ["bob", "eve"]
