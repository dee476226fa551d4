"""`afterclick evaluate`: figures against an oracle library, no look ahead, the documented JSON."""

import json
import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import pytrec_eval
from typer.testing import CliRunner

from afterclick.blend import SOURCES, Blend, default_blend
from afterclick.cli import app
from afterclick.evaluated_lists import measure_lists
from afterclick.evaluated_ranks import MODELS, figures_of_ranks, table_by_history
from afterclick.event_logs import Batching, EventLog, read_events, visible_before
from afterclick.mixtures import Mixture, Mixtures
from afterclick.parallel_replay import cut_days, replay_parallel
from afterclick.prequential import midnights, replay_ranks
from afterclick.ranking import Ranked
from afterclick.sequences import Cells
from afterclick.source_rules import SourceRules
from builders import make_replay


def walk(events: int = 900, people: int = 30, items: int = 25, seed: int = 0) -> pa.Table:
    """Build a log in which item n is mostly followed by item n + 1, over five days."""
    draw = np.random.default_rng(seed)
    subjects = draw.integers(0, people, events)
    at = np.sort(draw.integers(0, 5 * 86_400_000, events))
    place = draw.integers(0, items, people)
    chosen = []
    for subject in subjects:
        place[subject] = (place[subject] + 1) % items if draw.random() < 0.8 else draw.integers(0, items)
        chosen.append(f"i{place[subject]:02d}")
    times = pa.array(at + 1_767_225_600_000).cast(pa.timestamp("ms", "UTC"))
    return pa.table({"subject_id": [f"u{s}" for s in subjects], "item_id": chosen, "event_at": times})


def log_of(table: pa.Table) -> EventLog:
    return read_events([table.append_column("event_type", pa.array(["view"] * len(table)))], {"view": 1.0})[0]


def without_trend() -> Mixtures:
    """Return a blend of the sources that are exact event by event: the trend moves block by block."""
    weights = default_blend().weights.copy()
    weights[:, SOURCES.index("trend")] = 0.0
    others = weights.copy()
    others[:, SOURCES.index("frequency")] = 2.0
    mixtures = Mixture(Blend(weights), SourceRules()), Mixture(Blend(others), SourceRules(interest_half_life=5.0))
    return Mixtures(*mixtures, gap_ms=3 * 3_600_000)


def by_default() -> Mixtures:
    mixture = Mixture(default_blend(), SourceRules())
    return Mixtures(mixture, mixture)


def test_list_figures_are_those_of_trec_eval() -> None:
    draw = np.random.default_rng(5)
    items = np.array([draw.permutation(60)[:20] for _ in range(50)])
    flags = draw.random((50, 60)) < 0.1
    flags[:, 0] = True
    people, chosen = np.nonzero(flags)
    ours = measure_lists(Ranked(items, np.ones(items.shape)), Cells(people, chosen, np.ones(len(people))), np.ones(60))
    relevant = {str(p): {str(i): 1 for i in np.flatnonzero(flags[p])} for p in range(50)}
    run = {str(p): {str(i): float(20 - place) for place, i in enumerate(items[p])} for p in range(50)}
    names = {
        "recall@20": "recall_20",
        "recall@10": "recall_10",
        "precision@10": "P_10",
        "ndcg@10": "ndcg_cut_10",
        "ndcg@20": "ndcg_cut_20",
        "mrr@20": "recip_rank",
        "hr@20": "success_20",
    }

    asked = {"recall.10,20", "P.10", "ndcg_cut.10,20", "recip_rank", "success.20"}
    theirs = pytrec_eval.RelevanceEvaluator(relevant, asked).evaluate(run)

    for name, other in names.items():
        np.testing.assert_allclose(ours[name], [theirs[str(p)][other] for p in range(50)], err_msg=name)


def test_figures_of_ranks_count_a_tie_at_mid_rank_and_say_how_sure_they_are() -> None:
    figures = figures_of_ranks(np.array([0.0, 19.5, 20.0, 3.0]))

    assert (figures["hr@20"], figures["recall@10"]) == (0.75, 0.5)
    assert figures["mrr@20"] == pytest.approx((1 + 1 / 20.5 + 1 / 4) / 4, abs=1e-5)
    low, high = figures["ci95"]["hr@20"]
    assert high - low == pytest.approx(2 * 1.96 * math.sqrt(0.25 / 4), abs=1e-4)


def test_table_by_history_has_a_row_for_every_range_that_occurs() -> None:
    rows = table_by_history(np.array([0, 1, 2, 3, 5, 6, 60]), {"blend": np.zeros(7)})

    assert [(row["earlier_events"], row["events"]) for row in rows] == [
        ("0", 1),
        ("1", 1),
        ("2", 1),
        ("3-5", 2),
        ("6-10", 1),
        ("51+", 1),
    ]


def test_a_replay_in_blocks_ranks_as_one_event_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    log = log_of(walk(400))
    replay, days = make_replay(log), midnights(log, 200, 400)
    in_blocks = replay_ranks(replay, days, without_trend())
    monkeypatch.setattr("afterclick.prequential.blocks", lambda _, events: events[:, None])

    one_by_one = replay_ranks(replay, days, without_trend())

    for name in MODELS:
        np.testing.assert_allclose(in_blocks.by_model[name], one_by_one.by_model[name], err_msg=name)


def test_a_replay_does_not_look_ahead() -> None:
    """What comes later changes no earlier rank: the same events, other ones after them."""
    table, other = walk(400), walk(400, seed=9)
    same = 300
    cut = table["event_at"][same].as_py()
    other = other.filter(pa.compute.greater(other["event_at"], cut))
    mixed = pa.concat_tables([table.slice(0, same), other])
    batchings: tuple[Batching, ...] = ("event", "basket")
    for batching in batchings:
        found = []
        for one in (table, mixed):
            log = log_of(one)
            visible = visible_before(log, batching=batching)
            ranks = replay_ranks(make_replay(log, visible=visible), midnights(log, 200, same), without_trend())
            found.append(ranks.by_model)
        for name in MODELS:
            np.testing.assert_allclose(found[0][name], found[1][name], err_msg=name)


def test_a_lag_hides_the_step_before_and_costs_the_live_sources() -> None:
    log = log_of(walk(900))
    days = midnights(log, 450, 900)
    late = visible_before(log, batching="event", visible_after_ms=86_400_000)

    now = replay_ranks(make_replay(log), days, by_default()).by_model["covisitation"]
    later = replay_ranks(make_replay(log, visible=late), days, by_default()).by_model["covisitation"]

    assert (now == 0).mean() > 2 * (later == 0).mean()


def test_several_processes_share_the_days_and_find_the_same_sequence_of_events() -> None:
    log = log_of(walk(300))
    replay, days = make_replay(log), midnights(log, 100, 300)
    ticks: list[int] = []

    alone = replay_parallel(replay, days, by_default(), workers=1, tick=lambda _: None)
    shared = replay_parallel(replay, days, by_default(), workers=2, tick=ticks.append)

    assert sum(ticks) == 200
    np.testing.assert_array_equal(alone.events, shared.events)
    for name in ("popularity", "covisitation", "frequency"):  # these need no trained factors
        np.testing.assert_array_equal(alone.by_model[name], shared.by_model[name], err_msg=name)


@pytest.mark.parametrize("parts", [1, 2, 3, 9])
def test_cut_days_keeps_every_day_once_and_in_order(parts: int) -> None:
    days = [(0, 5), (5, 6), (6, 30), (30, 31)]

    cut = cut_days(days, parts)

    assert [day for stretch in cut for day in stretch] == days
    assert len(cut) <= parts


@pytest.mark.parametrize("protocol", ["split", "next", "prequential"])
def test_evaluate_prints_one_json_object_with_the_documented_keys(tmp_path: Path, protocol: str) -> None:
    table = walk()
    for name, part in (("train", table.slice(0, 600)), ("test", table.slice(600))):
        pq.write_table(part, tmp_path / f"{name}.parquet")
    paths = [str(tmp_path / "test.parquet"), "--train", str(tmp_path / "train.parquet")]
    options = ["--rank", "4", "--iterations", "2", "--workers", "1", "--json"]

    done = CliRunner().invoke(app, ["evaluate", protocol, *paths, *options])

    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout)
    assert report["protocol"] == protocol
    assert (report["events"], report["users"], report["share_unseen_users"]) == (300, 30, 0.0)
    assert set(report["models"]) - {"vsknn"} == set(MODELS)
    assert ("vsknn" in report["models"]) == (protocol == "next")
    wanted = {"recall@20", "precision@10", "recall@10", "ndcg@10", "ndcg@20", "hr@20", "mrr@20"}
    for figures in report["models"].values():
        assert wanted <= set(figures)
        assert wanted <= set(figures["ci95"])
    assert isinstance(report["by_history"], list)
    if protocol == "prequential":
        assert report["models"]["covisitation"]["mrr@20"] > 1.5 * report["models"]["nightly"]["mrr@20"]
        assert report["models"]["blend"]["mrr@20"] > 0.9 * report["models"]["covisitation"]["mrr@20"]


def test_evaluate_tells_what_the_file_lacks(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("who,what\na,b\n")

    done = CliRunner().invoke(app, ["evaluate", "next", str(path)])

    assert "no column for subject_id" in str(done.exception)
