"""What a fault run sends: events with the fate each must have, their deliveries in order, and the poison beside them.

Pure: the same plan gives the same load. Event times run over hours, so that sessions open and close; the order of sending
is a permutation within much less than the watermark, so that only the events meant to be late are late.
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

GRANTED = {"categoryPreferences": {"analytics": True, "personalisation": True}}
DENIED = {"categoryPreferences": {"analytics": False, "personalisation": False}}
_SHUFFLED_SECONDS = 100
"""Event time by which an event may move, and within which it is delivered again."""
_SPAN_SECONDS = 20_000
"""Event time from first to last at least: several sessions a person."""


class Fate(StrEnum):
    """Where an event must end."""

    ON_TIME = "events"
    LATE = "late_events"
    FUTURE = "quarantine"
    DENIED = "no_consent"


@dataclass(frozen=True)
class Sent:
    """One event: `mark` is its page path, by which tables and load are joined; ids may collide."""

    event_id: str
    mark: str
    user: str
    item: str
    happened_at: datetime
    fate: Fate

    def message(self) -> dict[str, Any]:
        """Return the Segment message; without ``sentAt`` the collector leaves its time as it is."""
        return {
            "type": "track",
            "event": "Product Viewed",
            "userId": self.user,
            "messageId": self.event_id,
            "properties": {"product_id": self.item},
            "originalTimestamp": iso(self.happened_at),
            "context": {"consent": DENIED if self.fate is Fate.DENIED else GRANTED, "page": {"path": self.mark}},
        }


@dataclass(frozen=True)
class LoadPlan:
    """What to send; the shares are of all events."""

    events: int
    seed: int
    begins_at: datetime
    items: int = 200
    late: float = 0.01
    future: float = 0.005
    denied: float = 0.02
    collisions: float = 0.01
    repeated: float = 0.1
    poison: float = 0.02

    @property
    def step_seconds(self) -> float:
        """Event time between two events."""
        return max(1.0, _SPAN_SECONDS / self.events)


def plan_deliveries(plan: LoadPlan) -> list[Sent]:
    """Return every delivery in the order of sending: 1-5 of each event."""
    draw = random.Random(plan.seed)  # noqa: S311 - a repeatable simulation
    places = _SHUFFLED_SECONDS / plan.step_seconds
    placed: list[tuple[float, Sent]] = []
    for number, event in enumerate(_events(plan, draw)):
        deliveries = draw.randint(2, 5) if draw.random() < plan.repeated else 1
        placed += [(number + draw.random() * places, event) for _ in range(deliveries)]
    return [event for _, event in sorted(placed, key=lambda one: one[0])]


def _events(plan: LoadPlan, draw: random.Random) -> Iterator[Sent]:
    people = max(20, plan.events // 40)
    made: list[Sent] = []
    near = max(2, round(_SHUFFLED_SECONDS / 2 / plan.step_seconds))
    for number in range(plan.events):
        fate, at = _fate(plan, draw, number)
        role = "denier" if fate is Fate.DENIED else "person"  # consent belongs to people: theirs never changes
        event = Sent(
            f"{plan.seed}-{number}", f"/{number}", f"{role}-{draw.randrange(people)}", f"item-{draw.randrange(plan.items)}",
            at, fate,
        )  # fmt: skip
        if fate is Fate.ON_TIME and draw.random() < plan.collisions and made:
            event = _colliding(draw.choice(made[-near:]), number)
        elif fate is Fate.ON_TIME:
            made.append(event)
        yield event


def _colliding(other: Sent, number: int) -> Sent:
    """Return an event of the same id, person and time that says something else."""
    return Sent(other.event_id, f"/{number}", other.user, other.item, other.happened_at, Fate.ON_TIME)


def _fate(plan: LoadPlan, draw: random.Random, number: int) -> tuple[Fate, datetime]:
    at = plan.begins_at + timedelta(seconds=number * plan.step_seconds)
    chance = draw.random()
    if chance < plan.future:
        return Fate.FUTURE, datetime(2099, 1, 1, tzinfo=UTC)
    if chance < plan.future + plan.denied:
        return Fate.DENIED, at
    if chance < plan.future + plan.denied + plan.late and number > plan.events // 4:
        return Fate.LATE, at - timedelta(hours=2)
    return Fate.ON_TIME, at


def good_message(number: int, plan: LoadPlan) -> dict[str, Any]:
    """Return a well-formed message as the collector writes it, to be spoilt."""
    at = iso(plan.begins_at + timedelta(seconds=number))
    return {
        "event_id": f"poison-{plan.seed}-{number}",
        "event_type": "view",
        "subject_id": f"{number:032x}",
        "event_at": at,
        "received_at": at,
        "items": [{"item_id": "item-1", "quantity": 1, "price": 1.5}],
        "page_path": "/poison",
        "consent": ["analytics", "personalisation"],
    }


def iso(moment: datetime) -> str:
    """Return ISO 8601 UTC with milliseconds."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
