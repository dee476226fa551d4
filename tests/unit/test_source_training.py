"""A model's sources: learned on its own events, kept in its files, used by its lists."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from afterclick.blend import SOURCES
from afterclick.connectors.redis_store import StoredHistory
from afterclick.errors import IncompatibleModelError, ModelError
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.models import item_keys, load_model, save_model
from afterclick.recommender import REASONS, Recommender
from afterclick.settings import Settings
from afterclick.source_training import add_sources
from afterclick.training import Training, train


def walk(events: int = 3_000, people: int = 60, items: int = 30, seed: int = 0) -> pa.Table:
    """Build interactions in which item n is mostly followed by item n + 1."""
    draw = np.random.default_rng(seed)
    subjects, place, chosen = draw.integers(0, people, events), draw.integers(0, items, people), []
    for subject in subjects:
        place[subject] = (place[subject] + 1) % items if draw.random() < 0.9 else draw.integers(0, items)
        chosen.append(f"i{place[subject]:02d}")
    columns = {"subject_id": [f"u{s}" for s in subjects], "item_id": chosen, "event_type": ["view"] * events}
    return pa.table(columns | {"event_ms": 1_767_225_600_000 + np.arange(events) * 60_000})


def trained(settings: Settings, table: pa.Table) -> Training:
    counted = table.group_by(["subject_id", "item_id"]).aggregate([("event_ms", "count")])
    weights = counted.rename_columns(["subject_id", "item_id", "weight"])
    return train(weights, settings.model, version="v", trained_at="now", event_weights={"view": 1.0})


@pytest.fixture
def small(settings: Settings) -> Settings:
    changed: dict[str, Any] = {"rank": 8, "iterations": 3}
    return settings.model_copy(update={"model": settings.model.model_copy(update=changed)})


@pytest.fixture
def recommender(small: Settings) -> Recommender:
    return Recommender(add_sources(trained(small, walk()), walk(), small).model, small.recommendations)


def history(*items: str) -> StoredHistory:
    records = np.zeros(len(items), RECORD)
    records["item_key"], records["event_type"] = item_keys(items), EVENT_TYPE_CODES["view"]
    records["event_ms"] = np.arange(len(items))
    return StoredHistory(records)


def test_add_sources_gives_the_same_sources_when_rows_come_in_another_order(small: Settings) -> None:
    table = walk(900)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(900)))
    training = trained(small, table)

    one, other = (add_sources(training, rows, small).model.sources for rows in (table, shuffled))

    assert one
    assert other
    np.testing.assert_array_equal(one.followers, other.followers)
    np.testing.assert_array_equal(one.blend.weights, other.blend.weights)


def test_add_sources_refuses_when_the_model_does_not_know_an_item(small: Settings) -> None:
    training = trained(small, walk(300, items=20))

    with pytest.raises(ModelError, match="outside the model's 20"):
        add_sources(training, walk(300, items=25), small)


def test_the_learned_blend_relies_on_followers_when_one_thing_leads_to_the_next(recommender: Recommender) -> None:
    sources = recommender.model.sources
    assert sources

    weights = dict(zip(SOURCES, sources.blend.weights[-1], strict=True))

    assert weights["covisitation"] > 3 * weights["popularity"]
    assert weights["covisitation"] > weights["frequency"]


def test_lists_put_the_follower_of_the_newest_item_first_and_say_what_led_to_it(recommender: Recommender) -> None:
    top, cold = recommender.lists([history("i03", "i11"), history("elsewhere")], 5)

    assert (top.source, cold.source) == ("fold_in", "popular")
    assert (top.items[0].item_id, top.items[0].reason, top.items[0].because) == ("i12", "others_went_on", "i11")
    assert {item.reason for item in top.items} <= set(REASONS)
    assert all(item.share is not None and 0 <= item.share <= 1 for item in top.items)
    assert [item.score for item in top.items] == sorted((item.score for item in top.items), reverse=True)


def test_lists_are_each_person_s_own_whoever_is_in_the_batch(recommender: Recommender) -> None:
    people = [history("i03", "i11"), history("i20"), history(*["i07"] * 3, "i08")]

    together = recommender.lists(people, 5)

    assert [recommender.lists([person], 5)[0] for person in people] == together


def test_carriers_shares_of_all_past_items_sum_to_one_and_rebuild_the_score(recommender: Recommender) -> None:
    past = history("i03", "i11", "i20", "i03")
    listed = ["i04", "i12", "elsewhere"]

    found = recommender.carriers(past.records, listed, most=99)

    assert set(found) == {"i04", "i12"}
    for shares in found.values():
        assert {item_id for item_id, _ in shares} == {"i03", "i11", "i20"}
        assert sum(share for _, share in shares) == pytest.approx(1.0, abs=1e-5)


def test_lists_leave_out_what_was_seen_when_configured(recommender: Recommender) -> None:
    rules = recommender.settings.model_copy(update={"exclude_seen": True})

    (top,) = Recommender(recommender.model, rules).lists([history("i03", "i11", "i12")], 5)

    assert {"i03", "i11", "i12"}.isdisjoint(item.item_id for item in top.items)
    assert len(top.items) == 27


def test_a_model_s_sources_are_read_back_as_saved(recommender: Recommender, tmp_path: Path) -> None:
    save_model(recommender.model, tmp_path / "v")

    loaded = Recommender(load_model(tmp_path / "v"), recommender.settings)

    people = [history("i03", "i11")]
    assert loaded.lists(people, 5) == recommender.lists(people, 5)
    assert loaded.model.sources
    assert recommender.model.sources
    assert loaded.model.sources.rules == recommender.model.sources.rules


def test_load_model_refuses_when_a_file_of_the_sources_is_missing_or_wrong(
    recommender: Recommender, tmp_path: Path
) -> None:
    from dataclasses import replace

    save_model(recommender.model, tmp_path / "gone")
    (tmp_path / "gone" / "followers.npy").unlink()
    assert recommender.model.sources
    wrong = replace(recommender.model.sources, followers=recommender.model.sources.followers + 99)
    save_model(replace(recommender.model, sources=wrong), tmp_path / "wrong")

    with pytest.raises(IncompatibleModelError, match="expected"):
        load_model(tmp_path / "gone")
    with pytest.raises(IncompatibleModelError, match="not there"):
        load_model(tmp_path / "wrong")
