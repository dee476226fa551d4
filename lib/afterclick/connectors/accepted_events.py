"""Accepted events, on time and late, two tables with one reader; and what a batch may repeat of all tables."""

from datetime import datetime
from functools import partial
from typing import NamedTuple

from pyspark.sql import DataFrame, SparkSession

from afterclick.arrived import Arrivals, Arrived, as_us, collect_arrived, summarise
from afterclick.connectors.delta_tables import read_table
from afterclick.connectors.kept_out import open_kept_out, withdraw_consent, withdraw_stored
from afterclick.connectors.recent_events import Asked, RecentEvents, received_from
from afterclick.decided_fates import Fates, flag_fates
from afterclick.event_clock import Past
from afterclick.event_fates import ACCEPTED, POSITION, Batch, with_first_fate
from afterclick.recent_ids import HOUR_US
from afterclick.schemas import STORED_EVENT
from afterclick.settings import Settings


def read_accepted(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return rows of `schemas.STORED_EVENT` of all accepted events that may still be used, with the consent that stands.

    Histories and models learn from late ones too.
    """
    used = withdraw_stored(_read_stored(spark, settings), open_kept_out(settings))
    return used.where("NOT is_kept_out").select(*STORED_EVENT.names)


def _read_stored(spark: SparkSession, settings: Settings) -> DataFrame:
    on_time, late = (read_table(spark, settings, table).select(*STORED_EVENT.names) for table in ACCEPTED)
    return on_time.unionByName(late)


def read_quarantined_positions(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return the Kafka positions in quarantine, each once."""
    return read_table(spark, settings, "quarantine").select(*POSITION).distinct()


class Decided(NamedTuple):
    """A batch with its fates, what is said of its arrival, and its narrow rows."""

    fates: Fates
    arrivals: Arrivals
    arrived: Arrived


def decide_fates(
    checked: DataFrame, batch: Batch, *, past: Past | None, settings: Settings, recent: RecentEvents | None = None
) -> Decided:
    """Decide the fates of a batch (`decided_fates.flag_fates`), given what the tables hold and who is kept out.

    Not even the refused messages of people kept out are stored: quarantine would keep the bytes.

    Parameters
    ----------
    checked
        Rows of `schemas.DECODED_EVENT` with `failed_rules` and `payload_hash`.
    past
        None where time has no order, as in imported history: then nothing is late.
    recent
        Ids that this writer keeps between its batches; None: the tables are read.
    """
    spark = checked.sparkSession
    judged = with_first_fate(withdraw_consent(checked, open_kept_out(settings)))
    arrived = collect_arrived(judged)
    arrivals = summarise(arrived)
    asked = _read_known(spark, settings, arrived, arrivals.oldest_received_at, recent)
    fates = flag_fates(
        judged,
        arrived,
        clocks=past and past.clocks,
        watermark_minutes=settings.streams.watermark_minutes,
        known=asked.known,
        may_be_known=asked.may_be_known,
        known_bad=read_quarantined_positions(spark, settings) if past and past.has_read(arrivals.ranges) else None,
        batch=batch,
    )
    return Decided(fates._replace(rows=fates.rows.drop("is_kept_out")), arrivals, arrived)


def _read_known(
    spark: SparkSession, settings: Settings, arrived: Arrived, oldest: datetime | None, recent: RecentEvents | None
) -> Asked:
    """Return the accepted events that a batch may repeat.

    They were received within ``streams.duplicate_window_hours`` before its `oldest` valid event, in whole hours: batches
    share their generated code.
    """
    if oldest is None:
        return Asked(None, None)
    since_hour = as_us(oldest) // HOUR_US - settings.streams.duplicate_window_hours
    if recent is None:
        return Asked(received_from(_read_stored(spark, settings), since_hour), None)
    return recent.narrow(partial(_read_stored, spark, settings), arrived, settings, since_hour=since_hour)
