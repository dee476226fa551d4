"""The simulated visits: complete, repeatable, and with the faults they claim."""

import random
from datetime import UTC, datetime, timedelta

from afterclick.local.simulator import DENIED, Basket, Line, Mischief, shift_baskets, visit_messages

AT = datetime(2017, 10, 1, 12, tzinfo=UTC)
BASKET = Basket("7", "b-1", AT, (Line("mug", "Mug", 1, 3.5), Line("cup", "Cup", 2, 1.0)))
NONE = Mischief(0, 0, 0)


def messages(seed: int, mischief: Mischief) -> list[dict[str, object]]:
    return list(visit_messages(BASKET, random.Random(seed), mischief))


def test_a_visit_views_adds_and_orders() -> None:
    visit = messages(1, NONE)

    assert [message["event"] for message in visit] == [
        "Product Viewed", "Product Added", "Product Viewed", "Product Added", "Order Completed",
    ]  # fmt: skip
    assert [item["product_id"] for item in visit[-1]["properties"]["products"]] == ["mug", "cup"]  # type: ignore[index]
    assert len({message["messageId"] for message in visit}) == 5


def test_the_same_seed_gives_the_same_messages() -> None:
    wild = Mischief(0.3, 0.5, 0.5)

    assert messages(3, wild) == messages(3, wild)


def test_a_visit_without_consent_is_so_in_every_message() -> None:
    assert all(m["context"]["consent"] is DENIED for m in messages(1, Mischief(1, 1, 1)))  # type: ignore[index]


def test_every_message_can_be_spoiled_and_every_good_one_repeated() -> None:
    good = messages(1, NONE)

    assert all(bad != fine for bad, fine in zip(messages(1, Mischief(0, 1, 0)), good, strict=True))
    assert len(messages(1, Mischief(0, 0, 1))) == 10


def test_shift_baskets_keeps_distances_and_ends_now() -> None:
    later = Basket("8", "b-2", AT + timedelta(days=2), BASKET.lines)
    now = datetime(2026, 11, 24, tzinfo=UTC)

    shifted = shift_baskets([BASKET, later], last_at=now)

    assert [basket.ordered_at for basket in shifted] == [now - timedelta(days=2), now]
    assert shift_baskets([], last_at=now) == []
