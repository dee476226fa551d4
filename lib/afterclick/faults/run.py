"""The whole fault run: start everything, send, kill, drain, join, build again and compare."""

import asyncio
import itertools
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from afterclick.connectors import redis_store
from afterclick.crash_points import CrashPoint
from afterclick.errors import LocalStackError
from afterclick.faults.client import LoadLedger, send_load
from afterclick.faults.keeper import KILLED, Account, Keeper, Program, answers, kill_server
from afterclick.faults.load import LoadPlan, plan_deliveries
from afterclick.faults.rebuild import last_commit, wait_until_drained
from afterclick.faults.verdict import judge
from afterclick.faults.watcher import ListWatcher
from afterclick.local import services
from afterclick.local.jars import broker_jars, default_cache_dir
from afterclick.local.java import SHORT_LIVED, find_java
from afterclick.local.kafka import start_kafka
from afterclick.local.processes import kill_process
from afterclick.local.valkey import start_valkey
from afterclick.models import Model, save_model
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings

Announce = Callable[[str], None]
TARGETS = ("driver", "broker", "redis", "collector")
QUERIES = ("ingest_events", "build_sessions", "update_recommendations")
VERSION = "faults"
_BULK_POINTS = ("CP0", "CP1", "CP2", "CP3", "CP6", "CP7", "CP8")
_FAST_POINTS = ("CP4", "CP5")
_COLLECTOR_POINTS = ("CP10", "CP11")
_LIFE_SECONDS = 15.0
"""About one start of a driver with its first batch: the other targets' kills are spread over as long."""
_COMPACTIONS = 10

_SMALL_SPARK = {
    "AFTERCLICK_SPARK__SPARK.DRIVER.MEMORY": "1g",
    "AFTERCLICK_SPARK__SPARK.MASTER": "local[2]",
    "AFTERCLICK_QUALITY__SAMPLE_ROWS": "0",  # Great Expectations takes seconds to load in each of these short lives
    **SHORT_LIVED,
}


@dataclass(frozen=True)
class FaultPlan:
    """What to do; `kills` of each target at random times, besides one at each crash point."""

    events: int
    kills: int
    seed: int
    targets: Sequence[str] = TARGETS
    crash_points: bool = True


def run(settings: Settings, plan: FaultPlan, announce: Announce) -> dict[str, Any]:
    """Run and judge; the eight counts of `verdict.COUNTS` must be 0."""
    begun = time.monotonic()
    load = LoadPlan(plan.events, plan.seed, datetime.now(UTC) - timedelta(days=20))
    deliveries = plan_deliveries(load)
    serve_a_model(settings, load)
    ledger, account = LoadLedger(), Account()
    with ExitStack() as stack:
        running: list[services.Service] = []
        stack.enter_context(services.stopping(running))
        running.append(services.start_service("api", ["-m", "afterclick.cli", "serve"], settings))
        services.wait_until_ready(running[0], f"{settings.serving.base_url}/health/ready")
        watcher = ListWatcher(settings, sorted({event.user for event in deliveries}))
        watcher.start()
        stack.callback(watcher.stop)
        announce(f"sending {len(deliveries):,} deliveries of {plan.events:,} events while processes are killed")
        with _killing(settings, plan, account) as wait_for_kills:
            asyncio.run(send_load(settings, load, deliveries, ledger, account.progress))
            wait_for_kills()
            announce(f"{len(account.kills)} random kills and {len(account.crash_points)} crash points done; draining")
            if not account.failures:
                wait_until_drained(settings, QUERIES, seconds=300.0)
    if account.failures:
        raise LocalStackError("; ".join(account.failures))
    announce("joining the load with the tables, building everything again from the first offset")
    counts = judge(settings, ledger, VERSION)
    return _figures(plan, ledger, account, watcher, counts) | {"seconds": round(time.monotonic() - begun, 1)}


def serve_a_model(settings: Settings, load: LoadPlan) -> None:
    """Point to a small model of random factors: faults do not care how good it is."""
    draw = np.random.default_rng(load.seed)
    model = Model(
        version=VERSION,
        item_ids=np.array([f"item-{number}" for number in range(load.items)]),
        item_factors=draw.normal(size=(load.items, 8)).astype(np.float32),
        popularity=np.arange(load.items, 0, -1, dtype=np.float64),
        regularization=1.0,
        alpha=1.0,
        event_weights={"view": 1.0},
        trained_at=datetime.now(UTC).isoformat(),
    )
    save_model(model, model_folder(settings, VERSION))
    store = redis_store.connect(settings.redis)
    store.write_popular(read_recommender(settings, VERSION).popular(1))
    store.switch_version(VERSION)


@contextmanager
def _killing(settings: Settings, plan: FaultPlan, account: Account) -> Iterator[Callable[[], None]]:
    """Keep the programs running and kill them as planned; gives a function that waits until all kills are done."""
    lives = _lives(plan)
    seconds = _LIFE_SECONDS * max(len(lives["bulk"]), len(lives["collector"]) / 3)
    programs = _programs(settings, seconds / max(1, len(lives["collector"])))
    keepers = [Keeper(program, settings, account, lives[program.name], plan.seed) for program in programs]
    servers = [name for name in ("broker", "redis") if name in plan.targets]
    compacts = plan.crash_points and "driver" in plan.targets
    account.planned = sum(map(len, lives.values())) + plan.kills * len(servers) + compacts
    killers = [threading.Thread(target=_die_compacting, args=(settings, account), daemon=True)] * compacts
    killers += [
        threading.Thread(target=_kill_servers, args=(name, settings, plan, account, seconds), daemon=True)
        for name in servers
    ]
    for keeper in keepers:
        keeper.start()
    for killer in killers:
        killer.start()

    def wait() -> None:
        for keeper in keepers:
            keeper.wait_until_done(seconds=3600.0)
        for killer in killers:
            killer.join(timeout=600.0)

    try:
        yield wait
    finally:
        for keeper in reversed(keepers):
            keeper.stop()


def _lives(plan: FaultPlan) -> dict[str, list[CrashPoint | None]]:
    """Return each program's deaths in order, crash points and random kills in turn."""

    def deaths(points: Sequence[str], kills: int, target: str) -> list[CrashPoint | None]:
        if target not in plan.targets:
            return []
        named = [CrashPoint(point) for point in points] if plan.crash_points else []
        pairs = itertools.zip_longest(named, [None] * kills, fillvalue=-1)
        return [death for pair in pairs for death in pair if death != -1]  # type: ignore[misc]

    half = (plan.kills + 1) // 2
    return {
        "bulk": deaths(_BULK_POINTS, half, "driver"),
        "fast": deaths(_FAST_POINTS, plan.kills - half, "driver"),
        "collector": deaths(_COLLECTOR_POINTS, plan.kills, "collector"),
    }


def _programs(settings: Settings, collector_pause: float) -> list[Program]:
    spark = {
        **_SMALL_SPARK,
        "AFTERCLICK_KAFKA__MAX_OFFSETS_PER_TRIGGER": str(settings.kafka.max_offsets_per_trigger),
        "AFTERCLICK_KAFKA__BULK_MAX_OFFSETS_PER_TRIGGER": str(settings.kafka.bulk_max_offsets_per_trigger),
    }
    streams = ["-m", "jobs.run_streams", "--queries"]
    committed = partial(last_commit, settings)
    return [
        Program(
            "collector",
            ["-m", "afterclick.cli", "collector"],
            answers(f"{settings.collector.base_url}/health/ready"),
            most_pause=2 * collector_pause,
        ),
        Program("bulk", [*streams, "ingest_events", "build_sessions"], partial(committed, "ingest_events"), spark),
        Program("fast", [*streams, "update_recommendations"], partial(committed, "update_recommendations"), spark),
    ]


def _kill_servers(name: str, settings: Settings, plan: FaultPlan, account: Account, seconds: float) -> None:
    draw = random.Random(f"{plan.seed}-{name}")  # noqa: S311 - repeatable
    folder = settings.state_dir
    if name == "redis":
        port = int(settings.redis.url.get_secret_value().rsplit(":", 1)[1].split("/")[0])
        kill, start = partial(kill_process, folder, "valkey"), partial(start_valkey, folder, port=port)
        works = partial(last_commit, settings, "update_recommendations")
    else:
        cache, port = default_cache_dir(), int(settings.kafka.bootstrap_servers.rsplit(":", 1)[1])
        kill = partial(kill_process, folder, "kafka")
        start = partial(start_kafka, folder, broker_jars(cache), find_java(cache), port=port)
        works = partial(last_commit, settings, "ingest_events")
    for _ in range(plan.kills):
        time.sleep(draw.uniform(0.0, 2 * seconds / plan.kills))
        kill_server(name, kill, start, works, account)


def _die_compacting(settings: Settings, account: Account) -> None:
    """Half-way through, die while compacting ``events``, then compact it."""
    while account.progress() < 0.5:  # noqa: PLR2004 - half
        time.sleep(0.2)
    arguments = ["-m", "afterclick.faults.compaction"]
    for point, expected in ((CrashPoint.MAINTENANCE.value, KILLED), ("", 0)):
        variables = {**_SMALL_SPARK, **({"AFTERCLICK_FAULTS__CRASH_POINT": point} if point else {})}
        for _ in range(_COMPACTIONS):
            process = services.start_service("compaction", arguments, settings, variables=variables).process
            if process.wait(timeout=600) == expected:
                break
            time.sleep(_LIFE_SECONDS)  # there may be nothing to compact yet
        else:
            account.failures.append(f"compaction {point} ended with {process.returncode}, expected {expected}")
            return
        if point:
            account.crash_points.append(point)


def _figures(
    plan: FaultPlan, ledger: LoadLedger, account: Account, watcher: ListWatcher, counts: dict[str, Any]
) -> dict[str, Any]:
    acked = len(ledger.acked)
    times = [seconds for found in account.recovery_s.values() for seconds in found]
    kills = Counter("driver" if name in ("bulk", "fast") else name for name in account.kills)
    return {
        "sent": ledger.sent,
        "acked": acked,
        "kills": len(account.kills) + len(account.crash_points),
        **counts,
        "regressions": watcher.regressions,
        "recovery_s": _percentiles(times),
        "recovery_s_by_program": {name: _percentiles(found) for name, found in account.recovery_s.items()},
        "random_kills": dict(kills),
        "crash_points": sorted(account.crash_points),
        "restarts": dict(Counter(account.ended_by_itself)),
        "answers": {str(status): count for status, count in sorted(ledger.statuses.items())},
        "serving": {
            "answers": {str(status): count for status, count in sorted(watcher.statuses.items())},
            "5xx": sum(count for status, count in watcher.statuses.items() if status >= 500),  # noqa: PLR2004
            "sources": dict(watcher.sources),
            "slowest_s": round(watcher.slowest_s, 3),
        },
        "upper_bound_95": 3 / acked if acked else None,
        "seed": plan.seed,
    }


def _percentiles(seconds: Sequence[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(seconds, q)), 2) for q in (50, 95)} if seconds else {}
