"""Golden session counts of Online Retail by the production operator (shared/data/README.md)."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from afterclick.arrow_state import read, state_tables, write
from afterclick.commands.sessionize import as_arriving, cut_log
from afterclick.recorded_logs import read_log, read_mapping
from afterclick.session_shards import Cutting, advance_shard
from afterclick.session_state import Shard

DELAY_US = 600_000_000


@pytest.mark.parametrize(
    ("gap_minutes", "sessions"),
    [(15, 16_500), (30, 16_349), (30 - 1e-6, 16_359), (60, 16_179)],
    ids=["over_15", "over_30", "at_least_30", "over_60"],
)
def test_cut_log_reaches_the_golden_counts(shared_data: Path, gap_minutes: float, sessions: int) -> None:
    file = shared_data / "online_retail" / "lines_before_2011-11.parquet"
    log = read_log(file, read_mapping(Path("conf/mappings/online_retail.yaml"))).table

    _, figures = cut_log(log, gap_minutes)

    assert (figures["events"], figures["subjects"], figures["sessions"]) == (323_570, 4_010, sessions)


@pytest.mark.parametrize(
    ("gap_minutes", "sessions"),
    [(15, 16_500), (30, 16_349), (30 - 1e-6, 16_359), (60, 16_179)],
    ids=["over_15", "over_30", "at_least_30", "over_60"],
)
def test_the_operator_reaches_them_for_any_split_shuffle_repetition_and_restart(
    shared_data: Path, gap_minutes: float, sessions: int
) -> None:
    """Events up to ten minutes out of order, one in a hundred twice, state through bytes after each batch."""
    file = shared_data / "online_retail" / "lines_before_2011-11.parquet"
    events = as_arriving(read_log(file, read_mapping(Path("conf/mappings/online_retail.yaml"))).table)
    draw = np.random.default_rng(round(gap_minutes))
    again = draw.choice(len(events), len(events) // 100, replace=False)
    rows = events.take(pa.array(np.concatenate([np.arange(len(events)), again])))
    at = rows["event_us"].to_numpy()
    rows = rows.take(pa.array(np.argsort(at + draw.uniform(0, DELAY_US, len(rows)), kind="stable")))
    cuts = np.sort(draw.integers(0, len(rows), 12))
    cutting, shard, watermark = Cutting(round(gap_minutes * 6e7)), Shard.empty(), 0
    counts: list[pa.Table] = []

    for begin, end in itertools.pairwise([0, *cuts.tolist(), len(rows)]):
        change = advance_shard(shard, rows.slice(begin, end - begin), cutting, watermark_us=watermark)
        shard = Shard(*(read(write(table)) for table in state_tables(change.shard)))
        counts.append(change.closed["event_count"])
        assert len(change.late) == 0
        watermark = max(watermark, int(rows["event_us"].to_numpy()[:end].max(initial=0)) - DELAY_US)
    counts.append(advance_shard(shard, rows.slice(0, 0), cutting, watermark_us=2**62).closed["event_count"])

    assert sum(map(len, counts)) == sessions
    assert sum(pc.sum(count).as_py() or 0 for count in counts) == 323_570
