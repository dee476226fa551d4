"""People a second whose histories and lists are written anew from the tables, against reading and writing alone.

The baseline reads the same rows from Delta, spreads them as the warming does, and sets two keys a person by pipelines, with
as many bytes.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import SparkSession

from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.people import serve_model
from afterclick.connectors import redis_store
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.delta_tables import ensure_tables
from afterclick.histories import RECORD
from afterclick.interactions import select_interactions
from afterclick.local import complete_journey
from afterclick.local.demo import demo_session, prepare
from afterclick.settings import Settings

_LIST_BYTES = 274
"""Of both lists of 50 of a person in a visit (docs/decisions/0050-compact-lists.md)."""
_PIPELINE = 500
_QUICK_HOUSEHOLDS = 100


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return people a second of both, in turns."""
    from jobs import import_history  # noqa: PLC0415 - jobs import connectors, we sit above

    lines = complete_journey.read_lines(_QUICK_HOUSEHOLDS if quick else None)
    runs = 1 if quick else 3
    with demo_session(settings) as spark:
        if quick:  # a model of random factors: training and judging take a minute
            history, purposes = complete_journey.history_log(lines), ("analytics", "personalisation")
            import_history.import_log(spark, settings, history, digest="rebuild", purposes=purposes)
            ensure_tables(spark, settings, ["items"])
            serve_model(settings, item_ids=sorted(lines["item_id"].unique()))
        else:
            prepare(spark, settings, lines, announce)
        version = redis_store.connect(settings.redis).served_version() or ""
        people = _copy(spark, settings)
        announce(f"{runs} runs of each")
        compared = compare(lambda: _warm(spark, settings, version), lambda: _copy(spark, settings), runs=runs)
    return {
        "measured": round(people / compared["measured_s"]),
        "baseline": round(people / compared["baseline_s"]),
        **{name: compared[name] for name in ("ratio", "runs", "spread", "baseline_spread")},
        "people": people,
    }


def _warm(spark: SparkSession, settings: Settings, version: str) -> int:
    from jobs import warm_cache  # noqa: PLC0415 - jobs import connectors, we sit above

    redis_store.connect(settings.redis).client.delete(f"{settings.redis.prefix}warmed:{version}")
    return warm_cache.write_lists(spark, settings, version)


def _copy(spark: SparkSession, settings: Settings) -> int:
    from jobs import warm_cache  # noqa: PLC0415

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collected = list(batches)
        if collected:
            yield _set_all(settings, pa.Table.from_batches(collected))

    recent = warm_cache.keep_recent(
        select_interactions(read_accepted(spark, settings)), settings.recommendations.history_length
    )
    parts = settings.recommendations.warm_parts
    written = recent.repartition(parts, "subject_id").mapInArrow(write, "people bigint").toArrow()
    return int(pc.sum(written["people"]).as_py())


def _set_all(settings: Settings, rows: pa.Table) -> pa.RecordBatch:
    client = redis_store.connect(settings.redis).client
    people, counts = np.unique(rows["subject_id"].to_numpy(zero_copy_only=False), return_counts=True)
    pipeline = client.pipeline(transaction=False)
    for number, (person, count) in enumerate(zip(people, counts, strict=True), start=1):
        pipeline.set(f"floor:h:{person}", bytes(int(count) * RECORD.itemsize))
        pipeline.set(f"floor:r:{person}", bytes(_LIST_BYTES))
        if number % _PIPELINE == 0:
            pipeline.execute()
    pipeline.execute()
    return pa.RecordBatch.from_pydict({"people": [len(people)]})
