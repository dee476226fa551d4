"""Recorded baskets -> the Segment messages a shop's site would have sent, some of them bad.

A basket becomes a visit: views, adds to cart, an order. Pure: no clock, no I/O, no Spark.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

GRANTED = {"categoryPreferences": {"analytics": True, "personalisation": True}}
DENIED = {"categoryPreferences": {"analytics": False, "personalisation": False}}


@dataclass(frozen=True)
class Line:
    """One product of a basket."""

    item_id: str
    name: str
    quantity: int
    price: float


@dataclass(frozen=True)
class Basket:
    """What one person bought at once; `ordered_at` in UTC."""

    user_id: str
    order_id: str
    ordered_at: datetime
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Mischief:
    """Share of messages that get a fault, 0..1 each."""

    without_consent: float = 0.02
    bad: float = 0.01
    repeated: float = 0.005


def visit_messages(basket: Basket, draw: random.Random, mischief: Mischief) -> Iterator[dict[str, Any]]:
    """Yield the Segment messages of one visit in order, ``sentAt`` left to the sender.

    Parameters
    ----------
    draw
        Source of randomness: the same seed gives the same messages.

    Notes
    -----
    Consent belongs to the person, so all of their visits are sent with or without it. Only good
    messages are repeated, so that acknowledged ones split exactly into stored, quarantined and denied.
    """
    chance = random.Random(basket.user_id).random()  # noqa: S311 - the same for all of a person's visits
    consent = DENIED if chance < mischief.without_consent else GRANTED
    steps: list[tuple[str, dict[str, Any]]] = []
    for line in basket.lines:
        product = {"product_id": line.item_id, "name": line.name, "quantity": line.quantity, "price": line.price}
        steps += [("Product Viewed", product), ("Product Added", product)]
    products = [properties for event, properties in steps if event == "Product Added"]
    steps.append(("Order Completed", {"order_id": basket.order_id, "currency": "USD", "products": products}))
    begun_at = basket.ordered_at - timedelta(seconds=5 * len(steps))
    for number, (event, properties) in enumerate(steps):
        message = {
            "type": "track",
            "event": event,
            "userId": basket.user_id,
            "messageId": f"{basket.order_id}-{number}",
            "properties": dict(properties),
            "originalTimestamp": _iso(begun_at + timedelta(seconds=5 * number)),
            "context": {"consent": consent, "page": {"path": f"/product/{properties.get('product_id', 'order')}"}},
        }
        if consent is GRANTED and draw.random() < mischief.bad:
            yield _spoil(message, draw)
            continue
        yield message
        if consent is GRANTED and draw.random() < mischief.repeated:
            yield message


def _spoil(message: dict[str, Any], draw: random.Random) -> dict[str, Any]:
    """Give a message one of the faults real clients have."""
    properties = message["properties"]
    fault = draw.choice(["no_product", "negative_price", "price_text", "future", "timestamp"])
    line = properties["products"][0] if "products" in properties else properties
    if fault == "no_product":
        spoiled = {**line, "product_id": None}
    elif fault == "negative_price":
        spoiled = {**line, "price": -1.0}
    elif fault == "price_text":
        spoiled = {**line, "price": "free"}
    else:
        text = "2099-01-01T00:00:00.000Z" if fault == "future" else "not a time"
        return {**message, "originalTimestamp": text}
    if "products" in properties:
        return {**message, "properties": {**properties, "products": [spoiled, *properties["products"][1:]]}}
    return {**message, "properties": spoiled}


def shift_baskets(baskets: Sequence[Basket], *, last_at: datetime) -> list[Basket]:
    """Move all baskets by one interval so that the last one was ordered at `last_at`."""
    if not baskets:
        return []
    offset = last_at - max(basket.ordered_at for basket in baskets)
    return [Basket(b.user_id, b.order_id, b.ordered_at + offset, b.lines) for b in baskets]


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"
