"""What the demo shows of a replay: live figures, and one person's list before and after."""

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from afterclick.local.freshness import FreshnessProbe, percentiles_ms
from afterclick.local.sender import Message, SendCounts

_CLOSED = re.compile(r"sessions built closed=(\d+) .*batch_id=(\d+)")
_REJECTED = re.compile(r"events stored events=\d+ .*?quarantine=(\d+) .*batch_id=(\d+)")


@dataclass
class Progress:
    """Live figures of the replay, read by the terminal view."""

    planned: int
    counts: SendCounts
    probe: FreshnessProbe
    begun_at: float
    names: dict[str, str]
    shown_person: str = ""
    before: list[dict[str, Any]] = field(default_factory=list)
    did: list[str] = field(default_factory=list)


def is_plain(message: Message) -> bool:
    """Tell whether this is a good, consented message that must show in the person's list."""
    properties, granted = message["properties"], message["context"]["consent"]["categoryPreferences"]["personalisation"]
    if not granted or message["event"] == "Order Completed":
        return False
    price_is_good = isinstance(properties["price"], float) and properties["price"] >= 0
    time_is_good = message["originalTimestamp"].startswith("20") and not message["originalTimestamp"].startswith("2099")
    return bool(properties["product_id"]) and price_is_good and time_is_good


def stream_counts(log: str) -> dict[str, int]:
    """Return closed sessions and rejected events so far, from the streams' log; a repeated batch counts once."""
    patterns = {"sessions_closed": _CLOSED, "events_rejected": _REJECTED}
    return {name: sum({b: int(n) for n, b in found.findall(log)}.values()) for name, found in patterns.items()}


def choose_person(progress: Progress, messages: list[Message], before: dict[str, dict[str, Any]]) -> None:
    """Show the person with a personal list who does most in this replay."""
    busiest = Counter(m["userId"] for m in messages if is_plain(m) and before[m["userId"]]["source"] != "popular")
    if not busiest:
        return
    person = busiest.most_common(1)[0][0]
    done = [m["properties"]["product_id"] for m in messages if m["userId"] == person and m["event"] == "Product Added"]
    progress.shown_person = person
    progress.before = before[person]["items"]
    progress.did = [progress.names.get(str(item_id), str(item_id)) for item_id in done]


def replay_figures(
    progress: Progress, before: dict[str, dict[str, Any]], after: dict[str, dict[str, Any]], denied: int
) -> dict[str, Any]:
    """Return the demo's figures of what was sent, answered and changed; lists by person before and after."""

    def item_ids(answer: dict[str, Any]) -> list[str]:
        return [item["item_id"] for item in answer["items"]]

    samples = progress.probe.samples
    first = progress.probe.first_covered_at
    return {
        "events_acked": len(progress.counts.acked),
        "deliveries_repeated": progress.counts.repeated,
        "deliveries_refused": sum(progress.counts.refused.values()),
        "without_consent_at_collector": denied,
        "users": len(after),
        "users_with_recommendations": sum(answer["source"] != "popular" for answer in after.values()),
        "lists_changed": sum(item_ids(before[person]) != item_ids(after[person]) for person in after),
        "freshness_ms": percentiles_ms([sample["total"] for sample in samples]),
        "freshness_samples": len(samples),
        "freshness_missed": progress.probe.missed,
        "seconds_to_first_recommendation": round(first - progress.begun_at, 1) if first else None,
    }


def shown_person(progress: Progress, after: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """One person's list with product names before and after what they did."""
    if not progress.shown_person:
        return {}

    def named(items: list[dict[str, Any]]) -> list[str]:
        return [progress.names.get(item["item_id"], item["item_id"]) for item in items]

    now = after[progress.shown_person]
    return {
        "person": progress.shown_person,
        "did": progress.did,
        "before": named(progress.before),
        "after": named(now["items"]),
    }
