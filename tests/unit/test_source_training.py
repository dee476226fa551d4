"""A model's sources: learned on its own events, kept in its files, used by its lists."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from afterclick.blend import CONTEXTS, SOURCES, Blend
from afterclick.connectors.redis_store import StoredHistory
from afterclick.errors import IncompatibleModelError, ModelError
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.list_records import REASONS, TopList
from afterclick.mixtures import Mixture
from afterclick.models import item_keys, load_model, save_model
from afterclick.places import ListedItem
from afterclick.recommendations import Reason, put_in_front
from afterclick.recommender import Recommender
from afterclick.settings import Settings
from afterclick.source_rules import SourceRules
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
    np.testing.assert_array_equal(one.mixtures.in_visit.blend.weights, other.mixtures.in_visit.blend.weights)


def test_add_sources_refuses_when_the_model_does_not_know_an_item(small: Settings) -> None:
    training = trained(small, walk(300, items=20))

    with pytest.raises(ModelError, match="outside the model's 20"):
        add_sources(training, walk(300, items=25), small)


def test_the_learned_blend_relies_on_followers_when_one_thing_leads_to_the_next(recommender: Recommender) -> None:
    sources = recommender.model.sources
    assert sources

    weights = dict(zip(SOURCES, sources.mixtures.in_visit.blend.weights[-1], strict=True))

    assert weights["covisitation"] > 3 * weights["popularity"]
    assert weights["covisitation"] > weights["frequency"]


def test_lists_put_the_follower_of_the_newest_item_first_and_say_what_led_to_it(recommender: Recommender) -> None:
    top, cold = recommender.lists([history("i03", "i11"), history("elsewhere")], 5)

    assert (top.source, cold.source) == ("fold_in", "popular")
    assert (top.items[0].item_id, top.items[0].reason) == ("i12", "others_went_on")
    assert {item.reason for item in top.items} <= set(REASONS)
    explained = recommender.explain(history("i03", "i11").records, reasons(top.items))
    assert explained["i12"].because == "i11"
    assert all(one.share is not None and 0 <= one.share <= 1 for one in explained.values())
    assert len(explained) == len(top.items)
    assert [item.score for item in top.items] == sorted((item.score for item in top.items), reverse=True)


def test_lists_are_each_person_s_own_whoever_is_in_the_batch(recommender: Recommender) -> None:
    people = [history("i03", "i11"), history("i20"), history(*["i07"] * 3, "i08")]

    together = recommender.lists(people, 5)

    assert [recommender.lists([person], 5)[0] for person in people] == together


def reasons(items: Sequence[ListedItem]) -> dict[str, str]:
    return {item.item_id: item.reason for item in items}


def test_shares_of_all_past_items_sum_to_one_and_rebuild_the_score(recommender: Recommender) -> None:
    past = history("i03", "i11", "i20", "i03")
    listed = dict.fromkeys(["i04", "i12", "elsewhere"], "others_went_on")

    found = recommender.explain(past.records, listed, most=99)

    assert set(found) == {"i04", "i12"}
    for one in found.values():
        assert {item_id for item_id, _ in one.carried_by} == {"i03", "i11", "i20"}
        assert sum(share for _, share in one.carried_by) == pytest.approx(1.0, abs=1e-5)


def test_an_item_that_stands_there_for_another_reason_has_no_past_item_behind_it(recommender: Recommender) -> None:
    found = recommender.explain(history("i03", "i11").records, {"i12": "cart_abandonment", "i04": "others_went_on"})

    assert (found["i12"].because, found["i12"].share) == (None, None)
    assert found["i04"].because is not None


def test_nothing_is_explained_of_somebody_of_whom_nothing_is_known(recommender: Recommender) -> None:
    assert recommender.explain(history("elsewhere").records, {"i12": "popular"}) == {}
    assert recommender.explain(history("i03").records, {"elsewhere": "popular"}) == {}


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
    assert loaded.model.sources.to_dict() == recommender.model.sources.to_dict()


def test_a_model_from_before_repeats_were_counted_is_read(recommender: Recommender, tmp_path: Path) -> None:
    save_model(recommender.model, tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    (tmp_path / "repeat_rate.npy").unlink()
    del manifest["files"]["repeat_rate.npy"]
    for described in (manifest["sources"], manifest["sources"]["returning"]):
        del described["rules"]["repeat_rate_power"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    sources = load_model(tmp_path).sources

    assert sources
    assert sources.repeat_rate.tolist() == [1.0] * 30
    assert sources.mixtures.returning.rules.repeat_rate_power == 0


def test_a_model_counts_who_had_an_item_again(recommender: Recommender) -> None:
    rows = walk().to_pylist()
    pairs = Counter((row["subject_id"], row["item_id"]) for row in rows)
    once, again = (Counter(item for (_, item), times in pairs.items() if times >= least) for least in (1, 2))
    whole = sum(again.values()) / sum(once.values())
    expected = [(again[item] + 20 * whole) / (once[item] + 20) for item in map(str, recommender.model.item_ids)]

    assert recommender.model.sources
    np.testing.assert_allclose(recommender.model.sources.repeat_rate, expected)


def two_mixtures(recommender: Recommender) -> Recommender:
    """Return one whose people are listed by their own past when they come back."""
    sources = recommender.model.sources
    assert sources
    weights = np.zeros((len(CONTEXTS), len(SOURCES)))
    weights[:, SOURCES.index("frequency")] = 1.0
    mixtures = sources.mixtures._replace(returning=Mixture(Blend(weights), SourceRules()), gap_ms=100)
    model = replace(recommender.model, sources=replace(sources, mixtures=mixtures))
    return Recommender(model, recommender.settings)


def test_lists_hold_the_one_for_the_next_visit_until_it_is_the_only_one(recommender: Recommender) -> None:
    both = two_mixtures(recommender)
    person = history("i11", "i03", "i11")  # the last one at 2 ms

    (here,), (gone,) = both.lists([person], 102), both.lists([person], 103)

    assert here.items[0].item_id == "i12"
    assert here.later is not None
    assert [item.item_id for item in here.later[:2]] == ["i11", "i03"]
    assert here.at(102).items == here.items
    assert here.at(103).items == gone.items == here.later
    assert (gone.later, here.later_after_ms) == (None, 102)


def test_lists_are_the_same_whoever_else_is_in_the_batch_and_away(recommender: Recommender) -> None:
    both = two_mixtures(recommender)
    late = history("i05")
    late.records["event_ms"] = 900
    people = [history("i03", "i11"), late, history("elsewhere"), history("i20")]

    together = both.lists(people, 950)

    assert [both.lists([person], 950)[0] for person in people] == together
    assert [top.later is not None for top in together] == [False, True, False, False]
    assert [top.source for top in together] == ["fold_in", "fold_in", "popular", "fold_in"]


@pytest.mark.parametrize("half_life", [100.0, 3.0])
def test_two_lists_made_at_once_are_those_made_one_by_one(recommender: Recommender, half_life: float) -> None:
    """What both mixtures read alike is computed once, with the same half-life of interest fold-in too."""
    sources = recommender.model.sources
    assert sources
    rows = np.array([0.3, 0.2, 0.5, 0.05, 0.1]), np.array([1.0, 0.05, 0.1, 0.02, 0.0])
    blends = [Blend(np.tile(row, (len(CONTEXTS), 1))) for row in rows]
    first, second = Mixture(blends[0], SourceRules()), Mixture(blends[1], SourceRules(half_life, repeat_rate_power=0.5))
    people = [history(*(f"i{(7 * n + step) % 30:02d}" for step in range(n + 1))) for n in range(12)]

    def lists(in_visit: Mixture, returning: Mixture) -> list[TopList]:
        mixtures = sources.mixtures._replace(in_visit=in_visit, returning=returning, gap_ms=100)
        model = replace(recommender.model, sources=replace(sources, mixtures=mixtures))
        return Recommender(model, recommender.settings).lists(people, 50)

    both, here, later = lists(first, second), lists(first, first), lists(second, second)

    assert len({item.reason for top in both for item in [*top.items, *(top.later or [])]}) > 2
    for top, only_here, only_later in zip(both, here, later, strict=True):
        assert top.later is not None
        for found, alone in ((top.items, only_here.items), (top.later, only_later.items)):
            for one, two in zip(found, alone, strict=True):
                assert (one.item_id, one.reason) == (two.item_id, two.reason)
                assert one.score == pytest.approx(two.score, rel=0, abs=1e-9)


def test_an_anonymous_session_is_a_visit(recommender: Recommender) -> None:
    top = two_mixtures(recommender).session_list(["i03", "i11"], 10**12)

    assert (top.source, top.items[0].item_id, top.later) == ("session", "i12", None)


def test_explanations_are_those_of_the_list_that_is_shown(recommender: Recommender) -> None:
    both = two_mixtures(recommender)
    sources = both.model.sources
    assert sources
    slow = sources.mixtures._replace(
        in_visit=replace(sources.mixtures.in_visit, rules=SourceRules(interest_half_life=0.5))
    )
    both = Recommender(replace(both.model, sources=replace(sources, mixtures=slow)), both.settings)
    past = history("i03", "i11", "i20").records

    here, gone = (both.explain(past, {"i04": "others_went_on"}, now_ms=now_ms)["i04"] for now_ms in (50, 200))

    assert here.carried_by != gone.carried_by


def test_what_a_trigger_puts_in_front_is_in_front_of_both_lists(recommender: Recommender) -> None:
    (top,) = two_mixtures(recommender).lists([history("i03", "i11")], 50)

    found = put_in_front(top, Reason("left carts", "cart_abandonment", ("i25",)))

    assert [found.at(now_ms).items[0].item_id for now_ms in (50, 500)] == ["i25", "i25"]
    assert len(found.at(500).items) == len(top.at(500).items)


@pytest.mark.parametrize("triggered", [0, 1, 700])
def test_a_trigger_makes_no_list_longer(recommender: Recommender, triggered: int) -> None:
    (top,) = two_mixtures(recommender).lists([history("i03", "i11")], 50)
    names = tuple(f"j{n}" for n in range(triggered))

    found = put_in_front(top, Reason("cheaper now", "price_drop", names))

    for now_ms in (50, 500):
        before, after = ([item.item_id for item in one.at(now_ms).items] for one in (top, found))
        assert after == [*names, *before][: len(before)]


def test_judging_shows_what_would_have_been_shown_at_each_moment(recommender: Recommender) -> None:
    past = history("i11", "i03", "i11")

    shown = two_mixtures(recommender).lists_at([past, past], [50, 500])

    assert [top.items[0].item_id for top in shown] == ["i12", "i11"]


def test_a_model_from_before_there_were_two_mixtures_lists_everybody_by_its_one(
    recommender: Recommender, tmp_path: Path
) -> None:
    save_model(recommender.model, tmp_path / "v")
    manifest = json.loads((tmp_path / "v" / "manifest.json").read_text())
    described = manifest["sources"]
    del described["returning"], described["visit_gap_ms"], described["rules"]["repeat_trend_power"]
    del described["blend"]["long"]
    (tmp_path / "v" / "manifest.json").write_text(json.dumps(manifest))

    loaded = Recommender(load_model(tmp_path / "v"), recommender.settings)

    lists = [loaded.lists([history("i03", "i11")], now_ms)[0] for now_ms in (5, 10**12)]
    assert lists[0].items == lists[1].items
    assert lists[0].later is None
    assert lists[0].items == recommender.lists([history("i03", "i11")], 5)[0].items


def test_load_model_refuses_when_a_file_of_the_sources_is_missing_or_wrong(
    recommender: Recommender, tmp_path: Path
) -> None:
    save_model(recommender.model, tmp_path / "gone")
    (tmp_path / "gone" / "followers.npy").unlink()
    assert recommender.model.sources
    wrong = replace(recommender.model.sources, followers=recommender.model.sources.followers + 99)
    save_model(replace(recommender.model, sources=wrong), tmp_path / "wrong")

    with pytest.raises(IncompatibleModelError, match="expected"):
        load_model(tmp_path / "gone")
    with pytest.raises(IncompatibleModelError, match="not there"):
        load_model(tmp_path / "wrong")
