"""Golden session counts of Online Retail by the production operator (shared/data/README.md)."""

import itertools
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from afterclick.arrow_state import read, state_tables, write
from afterclick.cli import app
from afterclick.commands.sessionize import as_arriving, cut_log
from afterclick.errors import SettingsError
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


@pytest.fixture
def log(tmp_path: Path) -> str:
    (tmp_path / "log.csv").write_text("subject_id,item_id,event_at\nada,mug,2026-01-01T10:00:00Z\n")
    return str(tmp_path / "log.csv")


@pytest.mark.parametrize("gap_minutes", ["inf", "nan", "1e15"])
def test_a_gap_without_an_end_is_wrong_use(log: str, gap_minutes: str) -> None:
    answer = CliRunner().invoke(app, ["sessionize", log, "--gap-minutes", gap_minutes])

    assert (answer.exit_code, "--gap-minutes" in answer.stderr) == (2, True)


def test_a_gap_may_be_very_long(log: str) -> None:
    answer = CliRunner().invoke(app, ["sessionize", log, "--gap-minutes", "1e9", "--json"])

    assert '"sessions": 1' in answer.stdout


def test_out_that_cannot_be_written_is_told(log: str, tmp_path: Path) -> None:
    answer = CliRunner().invoke(app, ["sessionize", log, "--out", str(tmp_path / "nosuch" / "x.parquet")])

    assert isinstance(answer.exception, SettingsError)
    assert "x.parquet cannot be written" in str(answer.exception)


def test_out_gets_the_sessions(log: str, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["sessionize", log, "--out", str(tmp_path / "x.parquet")])

    assert pq.read_table(tmp_path / "x.parquet")["subject_id"].to_pylist() == ["ada"]
