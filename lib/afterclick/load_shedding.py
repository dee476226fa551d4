"""What gives way when there is too much: declared low-value events, never purchases, carts or consent.

Three means, each leaving a trace: sampling when a stream lags (`sample_lagging`), a bound on one person's events in a
batch (`bound_hot_subjects`), and people with priority events first in a large batch of lists (`split_lanes`). A kept row
carries the share that was kept, so that counts can be scaled back: the sum of ``1 / sample_rate`` estimates what there was.
"""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from afterclick.setting_sections import LoadSettings

_SMALLEST_HALVING = 6
_PARTS = 2**_SMALLEST_HALVING


def sample_lagging(events: DataFrame, load: LoadSettings) -> DataFrame:
    """Add `sample_rate`; leave out low-value events in proportion to how long they have waited on Kafka.

    Parameters
    ----------
    events
        Rows with `event_id`, `event_type` and `kafka_at`.

    Notes
    -----
    An event that waited up to ``sample_after_seconds`` is kept. Each doubling of the wait after that halves the share, down
    to 1/64. The choice follows from the event's id and the batch's recorded time, so a repeated batch makes the same one.
    """
    rate = _sample_rate(load)
    place = F.pmod(F.xxhash64(F.concat(F.lit("sample:"), F.col("event_id"))), F.lit(_PARTS)) / _PARTS
    return events.withColumn("sample_rate", rate).where(place < F.col("sample_rate"))


def _sample_rate(load: LoadSettings) -> Column:
    if load.sample_after_seconds is None:
        return F.lit(1.0)
    waited = (F.unix_millis(F.current_timestamp()) - F.unix_millis("kafka_at")) / 1000.0
    halvings = F.least(F.lit(_SMALLEST_HALVING), F.ceil(F.log2(waited / F.lit(load.sample_after_seconds))))
    is_sampled = F.col("event_type").isin(*load.low_value_types) & (waited > F.lit(load.sample_after_seconds))
    return F.when(is_sampled, F.pow(F.lit(2.0), -halvings)).otherwise(F.lit(1.0))


class Bounded(NamedTuple):
    """What is left of a batch, and who was bounded: subject, events, kept ones and the share of low-value ones."""

    kept: pa.Table
    hot: pa.Table


HOT = pa.schema(
    [("subject_id", pa.string()), ("event_count", pa.int64()), ("kept_count", pa.int64()), ("rate", pa.float64())]
)


def bound_hot_subjects(arriving: pa.Table, load: LoadSettings) -> Bounded:
    """Keep ``hot_subject_events`` low-value events of each person in a batch, and all others.

    Parameters
    ----------
    arriving
        Columns of `session_shards.ARRIVING`.

    Notes
    -----
    It keeps those whose ids have the smallest hashes, so a repeated batch makes the same choice, and the share kept is
    exact: events that came with one rate scale back to the very count.
    """
    is_low = pc.is_in(arriving["event_type"], pa.array(load.low_value_types)).to_numpy()
    people = arriving["subject_id"].combine_chunks().dictionary_encode()
    codes = people.indices.to_numpy()
    total = np.bincount(codes, minlength=len(people.dictionary))
    low = np.bincount(codes[is_low], minlength=len(total))
    rates = np.minimum(1.0, load.hot_subject_events / np.maximum(low, 1))
    if (rates == 1.0).all():
        return Bounded(arriving, HOT.empty_table())
    place = arriving["event_key"].to_numpy().astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    is_kept, hot = np.ones(len(codes), bool), np.flatnonzero(rates < 1.0)
    for code in hot:
        rows = np.flatnonzero(is_low & (codes == code))
        is_kept[rows[np.argsort(place[rows], kind="stable")[load.hot_subject_events :]]] = False
    sampled = arriving["sample_rate"].to_numpy() * np.where(is_low, rates[codes], 1.0)
    rated = arriving.set_column(arriving.schema.get_field_index("sample_rate"), "sample_rate", pa.array(sampled))
    kept = np.bincount(codes[is_kept], minlength=len(total))
    columns = [people.dictionary.take(pa.array(hot)), pa.array(total[hot]), pa.array(kept[hot]), pa.array(rates[hot])]
    return Bounded(rated.filter(pa.array(is_kept)), pa.table(columns, schema=HOT))


def split_lanes(interactions: pa.Table, load: LoadSettings) -> list[pa.Table]:
    """Return a large batch in two parts: people with a priority event, then the rest; any other batch as it is.

    Parameters
    ----------
    interactions
        Rows of `schemas.INTERACTION`; all of a person's stay together, so that ``fresh_as_of`` stays true.
    """
    if len(interactions) <= load.lane_rows:
        return [interactions]
    is_low = pc.is_in(interactions["event_type"], pa.array(load.low_value_types))
    is_first = pc.is_in(
        interactions["subject_id"], interactions.filter(pc.invert(is_low))["subject_id"].combine_chunks()
    )
    lanes = [interactions.filter(is_first), interactions.filter(pc.invert(is_first))]
    return [lane for lane in lanes if len(lane)]
