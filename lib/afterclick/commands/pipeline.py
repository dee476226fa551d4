"""``afterclick evaluate pipeline``: the same figure through HTTP, Kafka, Spark, Redis and the API."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    import pyarrow as pa

    from afterclick.evaluation import Plan
    from afterclick.local.pipeline_replay import Pace

_COLUMNS = ("subject_id", "item_id", "event_type", "event_at")


def evaluate_pipeline(
    tables: list["pa.Table"], plan: "Plan", weights: Mapping[str, float], pace: "Pace", events: int
) -> dict[str, Any]:
    """Start the whole path over a model of the first log, send first visits of the second, and report both figures."""
    from afterclick.commands.history import segment_messages
    from afterclick.commands.progress import announcer
    from afterclick.local import demo, pipeline_replay
    from afterclick.local.processes import end_in_order_when_terminated
    from afterclick.local.stack import local_settings, start_stack, stop_stack
    from afterclick.pipeline_quality import deal, first_visits, judge, spread_instants

    if len(tables) != 2:  # noqa: PLR2004
        raise typer.BadParameter("pipeline needs the log to train on", param_hint="--train")
    end_in_order_when_terminated()
    announce = announcer()
    train, later = (spread_instants(table.select(_COLUMNS)) for table in tables)
    wanted = events + round(pace.rate * pipeline_replay.WARM_UP_SECONDS)
    visits = first_visits(later, gap_ms=plan.gap_ms, events=2 * wanted)  # some lanes would run short with just enough
    lanes = deal(visits, pace.lanes, length=-(-wanted // pace.lanes))
    # Messages are numbered lane by lane: a lane is a range of them.
    sent = later.take([row for lane in lanes for row in lane.tolist()])
    messages = list(segment_messages(sent, ("analytics", "personalisation")))
    numbers = _ranges([len(lane) for lane in lanes])
    os.environ.update(_variables(repeats=plan.repeats))  # noqa: TID251 - handed on to the services
    with tempfile.TemporaryDirectory(prefix="afterclick-evaluate-") as folder:
        try:
            announce("starting Kafka and Valkey on loopback")
            start_stack(Path(folder))
            settings = local_settings(Path(folder))
            with demo.demo_session(settings) as spark:
                version = pipeline_replay.prepare(spark, settings, train, announce)
            reading, lag = pipeline_replay.replay(settings, messages, numbers, pace, announce)
        finally:
            stop_stack(Path(folder))
    announce(f"predicting offline what was known {lag['p50']:g} ms after it happened")
    plan = replace(plan, model=settings.model)
    report = judge(train, sent, reading, plan, lag_ms=lag["p50"], weights=weights)
    run = {
        "rate": pace.rate,
        "pace_seconds": pace.seconds,
        "people": len(set(sent["subject_id"].to_pylist())),
        "lag_ms": lag,
        "version": version,
    }
    return {"protocol": "pipeline", "repeats": "allowed" if plan.repeats else "new"} | run | report


def _ranges(sizes: list[int]) -> list[Any]:
    import numpy as np

    return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])


def _variables(*, repeats: bool) -> dict[str, str]:
    return {
        "AFTERCLICK_RECOMMENDATIONS__EXCLUDE_SEEN": "false" if repeats else "true",
        "AFTERCLICK_PROMOTION__HOLDOUT_PERCENT": "0",
    }
