"""The load's ledger against the tables, the tables against each other, and two builds of them against one another."""

from collections import Counter
from typing import Any

from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import read_table
from afterclick.faults.client import LoadLedger
from afterclick.faults.load import Fate
from afterclick.settings import Settings

_VOLATILE = {
    "query", "generation", "batch_id", "quarantined_at", "watermark_at", "is_id_reused", "replayed_at", "replay_fate",
}  # fmt: skip
"""Columns that name the run or the batch, not the event."""
COMPARED = ("events", "late_events", "quarantine", "sessions")
_ACCEPTED = (Fate.ON_TIME.value, Fate.LATE.value)


def join_events(spark: SparkSession, settings: Settings, ledger: LoadLedger) -> dict[str, Any]:
    """Compare what was acknowledged with `events` and `late_events`.

    Returns
    -------
    dict
        ``lost``: acked, in neither. ``doubled``: rows beyond the first of an (event id, mark). ``invented``: rows that
        nobody sent, or that must not be there. ``misfiled``: in the other one of the two.
    """
    found: Counter[tuple[str, str]] = Counter()
    place: dict[tuple[str, str], str] = {}
    for table in _ACCEPTED:
        rows = (
            read_table(spark, settings, table).select("event_id", "page_path").toArrow().to_pydict()
        )  # the run's size
        for key in zip(rows["event_id"], rows["page_path"], strict=True):
            found[key] += 1
            place[key] = table
    wanted = {(s.event_id, s.mark): s.fate.value for s in ledger.acked if s.fate.value in _ACCEPTED}
    allowed = {(s.event_id, s.mark) for s in ledger.attempted if s.fate.value in _ACCEPTED}
    return {
        "lost": len(wanted.keys() - found.keys()),
        "doubled": sum(count - 1 for count in found.values()),
        "invented": len(found.keys() - allowed),
        "misfiled": sum(place.get(key, fate) != fate for key, fate in wanted.items()),
    }


def join_quarantine(spark: SparkSession, settings: Settings, ledger: LoadLedger) -> dict[str, int]:
    """Compare the poison and the events of the far future with `quarantine`, reason by reason."""
    columns = ("reasons", "event_id", "raw_value", "topic", "kafka_partition", "kafka_offset")
    rows = read_table(spark, settings, "quarantine").select(*columns).toArrow().to_pylist()  # the run's size
    by_value: Counter[bytes | None] = Counter(row["raw_value"] for row in rows)
    reasons = {row["raw_value"]: row["reasons"] for row in rows}
    positions = Counter((row["topic"], row["kafka_partition"], row["kafka_offset"]) for row in rows)
    poison: Counter[bytes | None] = Counter()
    for (_, value), count in ledger.poison.items():
        poison[value] += count
    future = {s.event_id for s in ledger.acked if s.fate is Fate.FUTURE}
    in_future = {row["event_id"] for row in rows if "event_in_future" in row["reasons"]}
    allowed = {s.event_id for s in ledger.attempted if s.fate is Fate.FUTURE}
    strangers = [row for row in rows if row["raw_value"] not in poison and row["event_id"] not in allowed]
    return {
        "poison": poison.total(),
        "lost": sum((poison - by_value).values()) + len(future - in_future),
        "doubled": sum((Counter({v: by_value[v] for v in poison}) - poison).values())
        + sum(count - 1 for count in positions.values()),
        "invented": len(strangers),
        "misfiled": sum(reason not in reasons.get(value, [reason]) for reason, value in ledger.poison),
    }


def join_sessions(spark: SparkSession, settings: Settings) -> dict[str, int]:
    """Count sessions stored twice, and neighbours of one person that overlap or lie within the gap."""
    sessions = read_table(spark, settings, "sessions")
    before = F.lag("ended_at").over(Window.partitionBy("subject_id").orderBy("started_at", "ended_at"))
    gap = F.expr(f"INTERVAL {int(settings.sessions.gap_minutes * 60)} SECONDS")
    overlap = sessions.withColumn("_before", before).where(F.col("started_at") <= F.col("_before") + gap).count()
    return {"doubled": sessions.count() - sessions.select("session_id").distinct().count(), "overlap": overlap}


def table_hashes(spark: SparkSession, settings: Settings) -> dict[str, tuple[int, int]]:
    """Return number of rows and an order-free sum of row hashes of each of `COMPARED`."""
    return {table: _hash(read_table(spark, settings, table)) for table in COMPARED}


def _hash(rows: DataFrame) -> tuple[int, int]:
    columns = [F.col(name) for name in rows.columns if name not in _VOLATILE]
    total = F.sum(F.xxhash64(*columns).cast("decimal(38,0)"))
    row = rows.agg(F.count(F.lit(1)), total).first()
    return (int(row[0]), int(row[1] or 0)) if row else (0, 0)
