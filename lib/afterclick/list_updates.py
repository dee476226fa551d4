"""Interactions -> lists of one model version, in this process or spread over executors."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial

import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import DataFrame

from afterclick.comparison import Comparison
from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence, RedisStore
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.errors import StoreUnavailableError, VersionMovedError
from afterclick.recommendations import RESULT, Reason, recompute_lists, update_lists
from afterclick.served_model import read_recommender
from afterclick.settings import Settings

_SWITCHES = 5


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
    length, now_ms = settings.recommendations.history_length, int(time.time() * 1000)
    comparison = Comparison.of(settings.serving)

    def update(served: str | None) -> pa.Table:
        recommender = read_recommender(settings, served) if served else None
        return update_lists(
            interactions, recommender, store, length=length, fence=fence, now_ms=now_ms, comparison=comparison
        )

    return update(version) if version else _for_the_served_version(store, update)


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
    length, now_ms = settings.recommendations.history_length, int(time.time() * 1000)
    comparison = Comparison.of(settings.serving)

    def recompute(version: str | None) -> pa.Table:
        if version is None or not reasons:
            return RESULT.empty_table()
        return recompute_lists(
            reasons, read_recommender(settings, version), store, length=length, now_ms=now_ms, comparison=comparison
        )

    return _for_the_served_version(store, recompute)


def _for_the_served_version(store: RedisStore, write: Callable[[str | None], pa.Table]) -> pa.Table:
    """Write lists of the version served now; again when another one is served by the time they are written."""
    for _ in range(_SWITCHES):
        with suppress(VersionMovedError):
            return write(store.served_version())
    message = f"the served model version changed during each of {_SWITCHES} attempts to compute the same lists"
    raise StoreUnavailableError(message)


def warm_spread(interactions: DataFrame, *, settings: Settings, version: str) -> pa.Table:
    """Write histories and lists of one version in `recommendations.warm_parts` parts, leaving out finished ones.

    A part that is done is noted in Redis, so a warming that was killed goes on where it was.
    """

    def warm_part(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        context = TaskContext.get()
        part = context.partitionId() if context else 0
        pointer = VersionPointer(redis_store.connect(settings.redis))
        if part in pointer.warmed_parts(version):
            return
        collected = list(batches)
        if collected:
            yield from update_here(pa.Table.from_batches(collected), settings=settings, version=version).to_batches()
        pointer.mark_warmed(version, part)

    schema = ", ".join(f"{name} bigint" for name in RESULT.names)
    parts = settings.recommendations.warm_parts
    return interactions.repartition(parts, "subject_id").mapInArrow(warm_part, schema).toArrow()


def total(result: pa.Table) -> dict[str, int]:
    """Add up the rows of a result."""
    return {name: sum(result[name].to_pylist()) for name in RESULT.names}
