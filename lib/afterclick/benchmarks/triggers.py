"""Cart abandonment on the running path: how late a trigger fires, and how soon after that the list shows its reason.

People leave their cart at a steady pace beside ordinary traffic, whose orders cancel their own. Event times are real time:
the clock that decides triggers is the events'.
"""

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from typing import Any

import httpx
import numpy as np
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from afterclick.benchmarks.whole_path import Clients, Pace, RunningPath, hurried, open_clients, running_path, stamped
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.delta_tables import read_table
from afterclick.connectors.subject_store import open_subject_store
from afterclick.local import demo
from afterclick.local.complete_journey import SHOWN_HOUSEHOLDS
from afterclick.local.freshness import percentiles_ms
from afterclick.local.sender import Message
from afterclick.local.simulator import Mischief
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings
from afterclick.vocabulary import EventType

RULE = "left cart"
AFTER_SECONDS = 60
_QUICK_AFTER_SECONDS = 5
POLL_SECONDS = 0.02
_WATCHED = 10
"""People whose lists are looked at together: more would take the processor from what is measured."""
_PATIENCE_INTERVALS = 6
"""Trigger intervals after the last deadline until the run ends."""


@dataclass(frozen=True)
class Leaver:
    """Who left a cart: the message, when it was posted, and whether after the warm-up."""

    message: Message
    at: float
    counts: bool

    @property
    def user_id(self) -> str:
        """Return the raw id."""
        return str(self.message["userId"])


@dataclass
class Watch:
    """Whose lists to look at once their deadline has passed, and when they showed the reason; times since the epoch."""

    left: list[Leaver] = field(default_factory=list)
    after_seconds: float = AFTER_SECONDS
    seen_at: dict[str, float] = field(default_factory=dict)
    missed: set[str] = field(default_factory=set)
    """Whose list had changed before anybody looked."""
    wrong: int = 0
    """Lists with the reason, but another item in front than the one left."""
    watched: dict[str, Leaver] = field(default_factory=dict)
    """Whose list was looked at and did not show the reason yet."""

    def choose(self, now: float) -> dict[str, Leaver]:
        """Return up to `_WATCHED` people to look at: those looked at before, then the earliest."""
        latest = now - self.after_seconds
        due = {one.user_id: one for one in self.left if one.at <= latest and one.user_id not in self.done()}
        return dict(islice((self.watched | due).items(), _WATCHED))

    def take(self, answers: Mapping[str, Any], chosen: dict[str, Leaver], now: float) -> None:
        """Take the API's answers about those who were chosen."""
        shown = {user_id: answer["items"] for user_id, answer in answers.items() if answer["trigger"] == RULE}
        for user_id, items in shown.items():
            if user_id in self.watched:
                self.seen_at[user_id] = now
            else:
                self.missed.add(user_id)
            self.wrong += items[0]["item_id"] != chosen[user_id].message["properties"]["product_id"]
        self.watched = {user_id: one for user_id, one in chosen.items() if user_id not in shown}

    def done(self) -> set[str]:
        """Return whose list shows the reason."""
        return self.seen_at.keys() | self.missed


def measure(settings: Settings, pace: Pace, *, announce: demo.Announce) -> dict[str, Any]:
    """Run the whole path at a pace, with one person a second leaving a cart.

    Returns
    -------
    dict
        `lateness_s`: p50 and p95 of writing a trigger after its deadline; `intervals` is the median by the trigger
        interval. `list_ms`: p50, p95, p99 from a trigger's firing to the API answer with its reason. `leavers`, `fired`
        (people; nothing else is told where nobody's did), `twice`, `others` (triggers of people with an order in time) and
        `overtaken` (triggers of others who left a cart by their events' times, though the bench did not mean it: posts
        overlap, and a time follows from when its post was received).
    """
    rules = settings.state_dir / "bench_triggers.yaml"
    settings, after = hurried(settings, pace), _QUICK_AFTER_SECONDS if pace.is_quick else AFTER_SECONDS
    told = f"{{name: {RULE}, kind: cart_abandonment, after: {after}s, cooldown: 1h}}"
    rules.write_text(f"rules:\n  - {told}\n", encoding="utf-8")
    variables = {"AFTERCLICK_TRIGGERS__RULES": str(rules)}
    with running_path(
        settings, announce, households=SHOWN_HOUSEHOLDS, bulk_variables=variables, is_quick=pace.is_quick
    ) as path:
        watch = asyncio.run(_send(settings, path, pace, Watch(after_seconds=after), announce))
    announce("reading what fired")
    store = open_subject_store(settings)
    people = {person.subject_id: one for one in watch.left if (person := store.find(RawId("user", one.user_id)))}
    with demo.demo_session(settings) as spark:
        times = [F.unix_micros(name).alias(name) for name in ("due_at", "fired_at")]
        table = read_table(spark, settings, "triggers").where(F.col("rule") == RULE)
        fired = table.select("subject_id", *times).collect()
        unplanned = [row for row in fired if row.subject_id not in people]
        refuted = _ordered_in_time(read_accepted(spark, settings), unplanned, after)
    counted = {row.subject_id: row for row in fired if row.subject_id in people and people[row.subject_id].counts}
    late = np.array([row.fired_at - row.due_at for row in counted.values()]) / 1e6
    seen = {subject: watch.seen_at.get(people[subject].user_id) for subject in counted}
    shown = [at - counted[subject].fired_at / 1e6 for subject, at in seen.items() if at]
    interval = settings.streams.bulk_trigger_seconds
    return {
        "lateness_s": {f"p{q}": round(float(np.percentile(late, q)), 2) for q in (50, 95)} if len(late) else {},
        "trigger_interval_s": interval,
        "intervals": round(float(np.median(late)) / interval, 3) if len(late) else None,
        "list_ms": percentiles_ms(shown),
        "samples": len(shown),
        "leavers": sum(one.counts for one in watch.left),
        "fired": len(counted),
        "twice": len(fired) - len({row.subject_id for row in fired}),
        "others": refuted,
        "overtaken": len(unplanned) - refuted,
        "wrong_item": watch.wrong,
        "rate": pace.rate,
    }


def _ordered_in_time(accepted: DataFrame, fired: Sequence[Any], after_seconds: float) -> int:
    """Return how many triggers have, by the stored events, an order of their person between the cart and the deadline."""
    is_order = accepted.subject_id.isin([row.subject_id for row in fired]) & (accepted.event_type == EventType.PURCHASE)
    orders = accepted.where(is_order).select("subject_id", F.unix_micros("event_at").alias("at")).collect()
    before = timedelta(seconds=after_seconds) // timedelta(microseconds=1)
    return sum(
        any(one.subject_id == row.subject_id and row.due_at - before <= one.at <= row.due_at for one in orders)
        for row in fired
    )


async def _send(settings: Settings, path: RunningPath, pace: Pace, watch: Watch, announce: demo.Announce) -> Watch:
    rate, leaving = pace.rate, int(pace.warm_up + pace.seconds)
    waiting = watch.after_seconds + _PATIENCE_INTERVALS * settings.streams.bulk_trigger_seconds
    events = int(1.5 * rate * (leaving + waiting))  # more than are needed: some people leave their cart instead
    plan = demo.DemoPlan(events=events, rate=rate, mischief=Mischief(0, 0, 0))
    messages = demo.planned_messages(path.baskets, plan, now=datetime.now(UTC))
    carts = {message["userId"]: message for message in messages if message["event"] == "Product Added"}
    leavers = dict(islice(carts.items(), leaving))
    others = (message for message in messages if message["userId"] not in leavers)
    is_over = asyncio.Event()
    announce(f"sending {rate:g}/s; one cart a second is left, {pace.warm_up:g} + {pace.seconds:g} s")
    async with open_clients(settings) as clients, asyncio.TaskGroup() as tasks:
        tasks.create_task(clients.send(takewhile(lambda _: not is_over.is_set(), stamped(others)), rate=rate))
        tasks.create_task(_keep_looking(watch, clients.to_api, is_over))
        await _leave_carts(clients, watch, leavers.values(), pace)
        announce("waiting for the last deadlines")
        await _wait_until_seen(watch, waiting)
        is_over.set()
    return watch


async def _leave_carts(clients: Clients, watch: Watch, carts: Iterable[Message], pace: Pace) -> None:
    begun = time.monotonic()
    for number, cart in enumerate(carts):
        await asyncio.sleep(max(0.0, begun + number - time.monotonic()))
        view = {**cart, "event": "Product Viewed", "messageId": f"left-{number}-view"}
        at = time.time()
        await clients.send(stamped([view, {**cart, "messageId": f"left-{number}-cart"}]), rate=0)
        watch.left.append(Leaver(cart, at, counts=number >= pace.warm_up))


async def _keep_looking(watch: Watch, api: httpx.AsyncClient, is_over: asyncio.Event) -> None:
    while not is_over.is_set():
        if chosen := watch.choose(time.time()):
            answers = (await api.post("/v1/recommendations/batch", json={"users": list(chosen), "n": 1})).json()
            watch.take(answers, chosen, time.time())
        await asyncio.sleep(POLL_SECONDS)


async def _wait_until_seen(watch: Watch, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while len(watch.done()) < len(watch.left) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
