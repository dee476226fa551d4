"""A million open sessions: time of a batch, bytes of state, memory; the operator without Spark around it."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa

from afterclick.arrow_state import read, spelled, state_tables, write
from afterclick.session_shards import ARRIVING, Cutting, advance_shard
from afterclick.session_state import Shard

_START_US = 1_700_000_000_000_000
_CUTTING = Cutting(1_800_000_000)


def measure(
    *, announce: Callable[[str], None], sessions: int = 1_000_000, shards: int = 2, batch: int = 50_000, runs: int = 5
) -> dict[str, Any]:
    """Return processor seconds and bytes of one shard's part of a batch; shards run side by side on as many cores.

    Notes
    -----
    A batch reads the state, takes its events, and writes the state, as `sessions` does; the baseline is the same batch
    with a hundredth of the open sessions. `same_after_restart` compares the state that went through bytes with the one
    that did not.
    """
    size = sessions // shards
    announce(f"opening {size:,} sessions in one of {shards} shards")
    full = advance_shard(Shard.empty(), _events(np.arange(size), 0, first_key=0), _CUTTING, watermark_us=0).shard
    small = advance_shard(
        Shard.empty(), _events(np.arange(size // 100), 0, first_key=0), _CUTTING, watermark_us=0
    ).shard
    draw = np.random.default_rng(1)
    arriving = _events(draw.integers(0, size, batch // shards), 600_000_000, first_key=size)
    announce(f"{runs} batches of {batch // shards:,} events")
    times = [_batch_seconds(full, arriving) for _ in range(runs)]
    base = [_batch_seconds(small, arriving) for _ in range(runs)]
    restarted = Shard(*map(read, _blobs(full)))
    states = [advance_shard(one, arriving, _CUTTING, watermark_us=0).shard for one in (full, restarted)]
    without, through = ([spelled(table) for table in state_tables(state)] for state in states)
    measured, baseline = statistics.median(times), statistics.median(base)
    return {
        "measured": round(measured, 3),
        "baseline": round(baseline, 3),
        "ratio": round(baseline / measured, 3),
        "runs": [round(one, 3) for one in times],
        "open_sessions": len(full.open) * shards,
        "state_mb": round(sum(map(len, _blobs(full))) * shards / 1e6, 1),
        "peak_memory_mb_per_shard": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000),
        "same_after_restart": without == through,
    }


def _batch_seconds(shard: Shard, arriving: pa.Table) -> float:
    blobs = _blobs(shard)
    begun = time.process_time()  # one thread: what it takes on a core of its own, whatever else runs
    change = advance_shard(Shard(*map(read, blobs)), arriving, _CUTTING, watermark_us=0)
    _blobs(change.shard)
    return time.process_time() - begun


def _blobs(shard: Shard) -> list[bytes]:
    return [write(table) for table in state_tables(shard)]


def _events(people: Any, offset_us: int, *, first_key: int) -> pa.Table:
    """Return one event of each of `people` within ten minutes, of 50,000 items and 5,000 pages."""
    size = len(people)
    draw = np.random.default_rng(size)
    at = _START_US + offset_us + draw.integers(0, 600_000_000, size)
    names = np.array([f"item-{number}" for number in range(50_000)])[draw.integers(0, 50_000, size)]
    columns = {
        "subject_id": pa.array([f"{person:032x}" for person in people]),
        "event_key": pa.array(np.arange(first_key, first_key + size)),
        "event_type": pa.array(draw.choice(["view", "cart", "purchase"], size, p=[0.85, 0.1, 0.05])),
        "event_us": pa.array(at),
        "received_us": pa.array(at),
        "value": pa.array(np.ones(size)),
        "item_ids": pa.ListArray.from_arrays(np.arange(size + 1), pa.array(names)),
        "page_path": pa.array([f"/page/{number}" for number in draw.integers(0, 5_000, size)]),
        "device": pa.repeat("mobile", size),
    }
    nulls = {field.name: pa.nulls(size, field.type) for field in ARRIVING if field.name not in columns}
    return pa.table({**columns, **nulls}).select(ARRIVING.names).cast(ARRIVING)
