"""Accepted events, on time and late, two tables with one reader; and what a batch may repeat of all tables."""

from datetime import datetime, timedelta

from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from afterclick.connectors.delta_tables import read_table
from afterclick.connectors.kept_out import open_kept_out, withdraw_consent, withdraw_stored
from afterclick.event_clock import Past
from afterclick.event_fates import POSITION, Arrivals, Batch, flag_fates
from afterclick.schemas import STORED_EVENT
from afterclick.settings import Settings

_TABLES = ("events", "late_events")


def read_accepted(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return rows of `schemas.STORED_EVENT` of all accepted events that may still be used, with the consent that stands.

    Histories and models learn from late ones too.
    """
    used = withdraw_stored(_read_stored(spark, settings), open_kept_out(settings))
    return used.where("NOT is_kept_out").select(*STORED_EVENT.names)


def read_known(spark: SparkSession, settings: Settings, oldest_received_at: datetime | None) -> DataFrame | None:
    """Return the accepted events that a batch may repeat; None when the batch has no valid event.

    Parameters
    ----------
    oldest_received_at
        Earliest receive time of a valid event of the batch, in whole hours: batches share their generated code. Those
        received within ``streams.duplicate_window_hours`` before it are returned; Delta skips older files.
    """
    if oldest_received_at is None:
        return None
    start_at = oldest_received_at - timedelta(hours=settings.streams.duplicate_window_hours)
    return _read_stored(spark, settings).where(F.col("received_at") >= F.lit(start_at))


def _read_stored(spark: SparkSession, settings: Settings) -> DataFrame:
    on_time, late = (read_table(spark, settings, table).select(*STORED_EVENT.names) for table in _TABLES)
    return on_time.unionByName(late)


def read_quarantined_positions(spark: SparkSession, settings: Settings) -> DataFrame:
    """Return the Kafka positions in quarantine, each once."""
    return read_table(spark, settings, "quarantine").select(*POSITION).distinct()


def decide_fates(
    checked: DataFrame, arrivals: Arrivals, batch: Batch, *, past: Past | None, settings: Settings
) -> DataFrame:
    """Add the fates of a batch (`event_fates.flag_fates`), given what the tables hold and who is kept out.

    Not even their refused messages are stored: quarantine would keep the bytes.

    Parameters
    ----------
    checked
        Rows of `schemas.DECODED_EVENT` with `failed_rules` and `payload_hash`.
    past
        None where time has no order, as in imported history: then nothing is late.
    """
    spark = checked.sparkSession
    allowed = withdraw_consent(checked, open_kept_out(settings))
    known = read_known(spark, settings, arrivals.oldest_received_at)
    known_bad = read_quarantined_positions(spark, settings) if past and past.has_read(arrivals.ranges) else None
    minutes = settings.streams.watermark_minutes
    clocks = past and past.clocks
    return flag_fates(
        allowed, clocks=clocks, watermark_minutes=minutes, known=known, known_bad=known_bad, batch=batch
    ).drop("is_kept_out")
