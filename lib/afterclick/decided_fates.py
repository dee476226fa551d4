"""The fates of a batch by order and repetition: what is late, what repeats, whose id had another payload.

Found in the batch's narrow rows at the driver (`arrived`) by rules of numbers (`fate_rules`), and joined to the messages.
"""

from functools import reduce
from operator import and_
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.arrived import Arrived, as_us
from afterclick.arrow_state import encode
from afterclick.event_clock import Clocks
from afterclick.event_fates import ACCEPTED, FATES, POSITION, Batch
from afterclick.fate_rules import NEVER, Flags, Ints, find_repeats, is_among_others, met_watermarks

_NOBODY_MET = pa.table({"event_id": pa.array([], pa.string()), "said": pa.array([], pa.int64())})


class Fates(NamedTuple):
    """Messages with `fate`, `watermark_at` and `is_id_reused`, how many there are of each fate, and what is stored.

    `is_stored` is in the order of the narrow rows: accepted, on time or late.
    """

    rows: DataFrame
    counts: dict[str, int]
    is_stored: Flags


class Found(NamedTuple):
    """What order and repetition say of each message: the watermark it came too late for (`NEVER`: none), and flags."""

    late_us: Ints
    is_repeated: Flags
    is_id_reused: Flags


def flag_fates(
    judged: DataFrame,
    arrived: Arrived,
    *,
    clocks: Clocks | None,
    watermark_minutes: int,
    known: DataFrame | None,
    batch: Batch,
    may_be_known: Flags | None = None,
    known_bad: DataFrame | None = None,
) -> Fates:
    """Return the fates of a batch.

    Parameters
    ----------
    judged, arrived
        The batch with its first fates and `payload_hash`, and its narrow rows (`arrived.collect_arrived`).
    clocks, watermark_minutes
        Newest event time by partition before this batch; None where time has no order: then nothing is late.
    known
        Accepted events of earlier batches within the window of duplicates (`connectors.accepted_events`);
        rows of `batch` itself, which an earlier attempt may have stored, are left out. None: there are none.
    may_be_known
        Messages whose id may be in `known`; None: any may.
    known_bad
        Kafka positions in quarantine, unique, when an earlier checkpoint has read this batch's messages.

    Notes
    -----
    Order and repetition are found in narrow rows at the driver (`fate_rules`), and only what differs by them is joined
    to the messages, which are neither sorted nor moved.
    """
    spark, is_accepted = judged.sparkSession, arrived.fate == "events"
    late_us = _late(arrived, is_accepted, clocks, watermark_minutes)
    asked = np.flatnonzero(is_accepted & (True if may_be_known is None else may_be_known))
    met = _read_met(spark, arrived, asked, known, batch) if known is not None and len(asked) else _NOBODY_MET
    is_repeated, is_id_reused = _repeats(arrived, is_accepted, asked, met)
    if known_bad is not None:
        is_repeated[_read_again(spark, arrived, known_bad)] = True
    found = Found(late_us, is_repeated, is_id_reused)
    fates = np.where(is_repeated, "duplicates", np.where(late_us != NEVER, "late_events", arrived.fate))
    is_stored = np.isin(fates, ACCEPTED)
    counts = {name: int((fates == name).sum()) for name in FATES}
    counts |= {"consumed": len(arrived), "reused_ids": int((is_id_reused & is_stored).sum())}
    return Fates(_with_found(judged, arrived, found), counts, is_stored)


def _late(arrived: Arrived, is_accepted: Flags, clocks: Clocks | None, minutes: int) -> Ints:
    """Return the watermark of late messages, `NEVER` of all others."""
    if clocks is None:
        return np.full(len(arrived), NEVER)
    before = [as_us(clocks.get(position)) for position in arrived.positions]
    met = met_watermarks(arrived.partition, arrived.event_us, arrived.is_valid, before, delay_us=minutes * 60_000_000)
    return np.where(is_accepted & (arrived.event_us < met), met, NEVER)


def _read_met(spark: SparkSession, arrived: Arrived, asked: Ints, known: DataFrame, batch: Batch) -> pa.Table:
    """Return the ids asked for that earlier batches have, once with each payload of the batch, once with null for others.

    At most two rows for each message asked for, however often the tables have an id.
    """
    is_of_this_batch = reduce(and_, (F.col(name).eqNullSafe(F.lit(value)) for name, value in batch._asdict().items()))
    earlier = known.where(~is_of_this_batch).select("event_id", "payload_hash")
    told = pa.table({"event_id": arrived.event_id.take(pa.array(asked)), "payload_hash": arrived.payload_hash[asked]})
    pairs = spark.createDataFrame(told.group_by(told.column_names).aggregate([]))
    # What is asked for is the small side; what is known is only scanned. Repeated ids do no harm in the first join.
    of_ids = earlier.join(F.broadcast(pairs.select("event_id")), on="event_id", how="left_semi")
    said = F.broadcast(pairs.withColumn("said", F.col("payload_hash")))
    joined = of_ids.join(said, on=["event_id", "payload_hash"], how="left")
    return joined.select("event_id", "said").distinct().toArrow()


def _repeats(arrived: Arrived, is_accepted: Flags, asked: Ints, met: pa.Table) -> tuple[Flags, Flags]:
    """Look only at messages whose id's hash is twice in the batch, and at those that were met."""
    is_repeated, is_id_reused = np.zeros(len(arrived), np.bool_), np.zeros(len(arrived), np.bool_)
    rows = np.flatnonzero(is_accepted)
    is_doubtful = is_among_others(arrived.id_hash[rows])
    if len(met):
        is_met = pc.is_in(arrived.event_id.take(pa.array(asked)), value_set=met["event_id"].combine_chunks())
        is_doubtful |= np.isin(rows, asked[is_met.to_numpy()])
    rows = rows[is_doubtful]
    rows = rows[np.argsort(arrived.kafka_us[rows], kind="stable")]  # by time, topic, partition and offset
    (met_ids, ids), _ = encode(met["event_id"], arrived.event_id.take(pa.array(rows)))
    known, payloads = np.unique(arrived.payload_hash[rows], return_inverse=True)
    is_other = pc.is_null(met["said"]).to_numpy()
    met_payloads = np.where(is_other, -1, np.searchsorted(known, pc.fill_null(met["said"], 0).to_numpy()))
    is_repeated[rows], is_id_reused[rows] = find_repeats(ids, payloads, met_ids, met_payloads)
    return is_repeated, is_id_reused


def _read_again(spark: SparkSession, arrived: Arrived, known_bad: DataFrame) -> Ints:
    """Return the rows that are in quarantine already."""
    rows = np.flatnonzero(arrived.fate == "quarantine")
    if not len(rows):
        return rows
    bad = spark.createDataFrame(_positions(arrived, rows).append_column("row", pa.array(rows)))
    found = known_bad.join(F.broadcast(bad), on=list(POSITION), how="inner").select("row").toArrow()
    return np.asarray(found["row"].to_numpy(), np.int64)


def _with_found(judged: DataFrame, arrived: Arrived, found: Found) -> DataFrame:
    """Add `fate`, `watermark_at` and `is_id_reused`."""
    rows = np.flatnonzero((found.late_us != NEVER) | found.is_repeated | found.is_id_reused)
    nothing = {"watermark_at": F.lit(None).cast("timestamp"), "is_id_reused": F.lit(False)}
    if not len(rows):
        return judged.withColumns(nothing)
    late_us, others = found.late_us[rows], _positions(arrived, rows)
    flags = {"is_repeated": found.is_repeated[rows], "is_id_reused": found.is_id_reused[rows]}
    late_at = pa.array(late_us, mask=late_us == NEVER).cast(pa.timestamp("us", "UTC"))
    for name, values in {"watermark_at": late_at, **flags}.items():
        others = others.append_column(name, pa.array(values))
    broadcast = F.broadcast(judged.sparkSession.createDataFrame(others))
    joined = judged.join(broadcast, on=list(POSITION), how="left")
    late = F.when(F.col("watermark_at").isNotNull(), "late_events").otherwise(F.col("fate"))
    fate = F.when(F.col("is_repeated"), "duplicates").otherwise(late)
    is_id_reused = F.coalesce("is_id_reused", F.lit(False))
    return joined.withColumns({"fate": fate, "is_id_reused": is_id_reused}).drop("is_repeated")


def _positions(arrived: Arrived, rows: Ints) -> pa.Table:
    numbers = arrived.partition[rows]
    topics, partitions = zip(*arrived.positions, strict=True)
    columns = (
        pa.array(topics).take(pa.array(numbers)),
        pa.array(partitions, pa.int32()).take(pa.array(numbers)),
        pa.array(arrived.offset[rows]),
    )
    return pa.table(dict(zip(POSITION, columns, strict=True)))
