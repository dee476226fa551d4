"""`afterclick evaluate split` on logs without a case, and on catalogues shorter than a list."""

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from afterclick.cli import app
from afterclick.evaluated_lists import measure_lists
from afterclick.ranking import Ranked
from afterclick.sequences import Cells


def log(events: int, *, people: int = 30, items: int = 12, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    times = pa.array(np.arange(events) * 3_600_000).cast(pa.timestamp("ms", "UTC"))
    subjects = [f"u{number}" for number in draw.integers(0, people, events)]
    chosen = [f"i{number}" for number in draw.integers(0, items, events)]
    return pa.table({"subject_id": subjects, "item_id": chosen, "event_at": times})


def split_report(folder: Path, train: pa.Table, test: pa.Table, *options: str) -> dict[str, Any]:
    for name, part in (("train", train), ("test", test)):
        pq.write_table(part, folder / f"{name}.parquet")
    paths = [str(folder / "test.parquet"), "--train", str(folder / "train.parquet")]

    done = CliRunner().invoke(
        app, ["evaluate", "split", *paths, "--rank", "4", "--iterations", "2", *options, "--json"]
    )

    assert done.exit_code == 0, done.output
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def renamed(table: pa.Table, column: str, prefix: str) -> pa.Table:
    values = [f"{prefix}{value}" for value in table[column].to_pylist()]
    return table.set_column(table.schema.get_field_index(column), column, pa.array(values))


@pytest.mark.parametrize("repeats", ["allowed", "new"])
def test_split_with_newcomers_only_has_no_case_and_every_figure(tmp_path: Path, repeats: str) -> None:
    report = split_report(tmp_path, log(400), renamed(log(100), "subject_id", "new-"), "--repeats", repeats)

    assert report["cases"] == 0
    for figures in report["models"].values():
        assert {"hr@20", "ndcg@10", "novelty@20"} <= set(figures["ci95"])
        assert figures["hr@20"] == figures["novelty@20"] == figures["coverage"] == 0.0


def test_split_of_one_event_has_no_case(tmp_path: Path) -> None:
    path = tmp_path / "one.csv"
    path.write_text("subject_id,item_id,event_at\nada,mug,2026-01-01T00:00:00Z\n")

    done = CliRunner().invoke(app, ["evaluate", "split", str(path), "--ratio", "0.1", "--json"])

    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["cases"] == 0


@pytest.mark.parametrize("repeats", ["allowed", "new"])
def test_split_counts_only_listed_items_in_coverage_and_novelty(tmp_path: Path, repeats: str) -> None:
    """Places of a list that a short catalogue cannot fill hold nothing."""
    train, test = log(600), log(300, seed=1)
    unknown = renamed(test, "item_id", "unknown-")

    report = split_report(tmp_path, train, pa.concat_tables([test, unknown]), "--repeats", repeats)

    assert report["cases"] > 0
    rarest = min(Counter(train["item_id"].to_pylist()).values()) / len(train)
    for figures in report["models"].values():
        assert figures["coverage"] <= 1.0
        assert 0.0 < figures["novelty@20"] <= -math.log2(rarest)


def test_novelty_is_of_the_listed_places_only() -> None:
    scores = np.array([[2.0, 1.0, -np.inf], [1.0, -np.inf, -np.inf]])
    relevant = Cells(np.array([0, 1]), np.array([0, 0]), np.ones(2))

    measured = measure_lists(Ranked(np.array([[0, 1, 2], [0, 1, 2]]), scores), relevant, np.array([2.0, 1.0, 1.0]))

    assert measured["novelty@20"].tolist() == [1.5, 1.0]


@pytest.mark.parametrize("option", ["--regularization", "--alpha"])
@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf"])
def test_evaluate_refuses_what_no_model_can_be_trained_with(tmp_path: Path, option: str, value: str) -> None:
    pq.write_table(log(100), tmp_path / "log.parquet")

    done = CliRunner().invoke(app, ["evaluate", "split", str(tmp_path / "log.parquet"), option, value])

    assert done.exit_code == 2
    assert "is not a finite number above 0" in done.output
