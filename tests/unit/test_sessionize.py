"""Golden session counts of Online Retail by the production operator (shared/data/README.md)."""

from pathlib import Path

import pytest

from afterclick.commands.sessionize import cut_log
from afterclick.recorded_logs import read_log, read_mapping


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
