"""Interactions -> lists of one model version, in this process or spread over executors."""

import time
from collections.abc import Iterator, Mapping
from functools import partial

import pyarrow as pa
from pyspark.sql import DataFrame

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.recommendations import RESULT, Reason, recompute_lists, update_lists
from afterclick.served_model import read_recommender
from afterclick.settings import Settings


def update_here(
    interactions: pa.Table, *, settings: Settings, version: str | None = None, fence: Fence | None = None
) -> pa.Table:
    """Update the lists of everybody in a table; one row of `recommendations.RESULT`.

    Parameters
    ----------
    interactions
        Rows of `schemas.INTERACTION`, all of a person's.
    version
        None: the version served now; where none is, histories are kept and lists follow when a cache is warmed.
    fence
        The writing batch; None keeps each history's own.

    Raises
    ------
    StoreUnavailableError
        If Redis fails.
    """
    if len(interactions) == 0:
        return RESULT.empty_table()
    store = redis_store.connect(settings.redis, crash_point=settings.faults.crash_point)
    version = version or store.served_version()
    recommender = read_recommender(settings, version) if version else None
    length, now_ms = settings.recommendations.history_length, int(time.time() * 1000)
    return update_lists(interactions, recommender, store, length=length, fence=fence, now_ms=now_ms)


def update_spread(
    interactions: DataFrame, *, settings: Settings, version: str | None = None, fence: Fence | None = None
) -> pa.Table:
    """Do the same on executors, each with some of the people; one row per partition."""
    update = partial(update_here, settings=settings, version=version, fence=fence)

    def update_partition(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        collected = list(batches)  # all of a person's rows at once
        if collected:
            yield from update(pa.Table.from_batches(collected)).to_batches()

    schema = ", ".join(f"{name} bigint" for name in RESULT.names)
    return interactions.repartition("subject_id").mapInArrow(update_partition, schema).toArrow()


def recompute_here(reasons: Mapping[str, Reason], *, settings: Settings) -> pa.Table:
    """Compute the lists of triggered people anew; one row of `recommendations.RESULT`, none before the first model.

    Raises
    ------
    StoreUnavailableError
        If Redis fails.
    """
    store = redis_store.connect(settings.redis)
    version = store.served_version()
    if version is None or not reasons:
        return RESULT.empty_table()
    length, now_ms = settings.recommendations.history_length, int(time.time() * 1000)
    return recompute_lists(reasons, read_recommender(settings, version), store, length=length, now_ms=now_ms)


def total(result: pa.Table) -> dict[str, int]:
    """Add up the rows of a result."""
    return {name: sum(result[name].to_pylist()) for name in RESULT.names}
