"""A week of replayed baskets: how soon a sabotaged champion is rolled back, and whether a healthy one ever is.

Each night a model is trained on everything before (its factors alone, no blend). By day the champion, the model of the
night before (control) and the champion with its item names shuffled are asked before each basket, and every half hour the
rules of `relevance_rules` look, as the DAG ``watch_relevance`` does. The log's own clock counts.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.holdout import Visit, judge, visits_since
from afterclick.local.complete_journey import REPLAY_FROM, read_lines
from afterclick.models import Model
from afterclick.recommender import Recommender
from afterclick.relevance_rules import FloatVector, judge_champion
from afterclick.setting_sections import ModelSettings, RecommendationSettings, RelevanceSettings
from afterclick.training import train

_DAY, _LOOK = 86_400_000, 1_800_000
_LIST_LENGTH = 20


@dataclass(frozen=True)
class Shop:
    """What is replayed, and by which rules it is trained, ranked and judged."""

    interactions: pa.Table
    model: ModelSettings
    recommendations: RecommendationSettings
    relevance: RelevanceSettings

    def train_until(self, moment_ms: int) -> Recommender:
        """Return the model of the night that ends at a moment."""
        past = self.interactions.filter(pc.less(self.interactions["event_ms"], moment_ms))
        weights = past.group_by(["subject_id", "item_id"]).aggregate([([], "count_all")])
        weights = weights.rename_columns(["subject_id", "item_id", "weight"])
        weighed = self.recommendations.event_weights
        trained = train(weights, self.model, version=f"until-{moment_ms}", trained_at="", event_weights=weighed)
        return Recommender(trained.model, self.recommendations)

    def visits(self, since_ms: int) -> list[Visit]:
        """Return the day's baskets with what their people had bought before."""
        until = self.interactions.filter(pc.less(self.interactions["event_ms"], since_ms + _DAY))
        acting = pc.unique(until.filter(pc.greater_equal(until["event_ms"], since_ms))["subject_id"])
        rows = until.filter(pc.is_in(until["subject_id"], acting))
        length = self.recommendations.history_length
        return visits_since(rows, since_ms, most=self.relevance.max_visits, length=length)

    def first_rollback(self, champion: FloatVector, control: FloatVector, times: FloatVector) -> tuple[int, int] | None:
        """Return after how many minutes and visits the first look says that the champion must go; None if none does.

        Parameters
        ----------
        champion, control, times : shape (n_visits,)
            Hits, and milliseconds since the switch.
        """
        for look in range(_LOOK, _DAY + 1, _LOOK):
            seen = int(np.searchsorted(times, look))
            if judge_champion(champion[:seen], control[:seen], self.relevance).is_worse:
                return look // 60_000, seen
        return None


def measure(
    model: ModelSettings,
    recommendations: RecommendationSettings,
    relevance: RelevanceSettings,
    *,
    announce: Callable[[str], None],
    days: int = 7,
    households: int | None = None,
) -> dict[str, Any]:
    """Return, for each day, what the looks said of the healthy and of the sabotaged champion."""
    shop = Shop(_interactions(households), model, recommendations, relevance)
    begin = int(REPLAY_FROM.timestamp() * 1000)
    control = shop.train_until(begin - _DAY)
    found = []
    for day in range(days):
        since = begin + day * _DAY
        champion = shop.train_until(since)
        found.append(_replay_day(shop, champion, control, since))
        announce(f"day {day + 1}: {found[-1]}")
        control = champion
    caught = [row["sabotaged"] for row in found if row["sabotaged"]]
    return {
        "days": found,
        "visits": sum(row["visits"] for row in found),
        "looks": days * (_DAY // _LOOK),
        "false_rollbacks": sum(row["healthy"] is not None for row in found),
        "sabotage_caught": len(caught),
        "minutes": _spread([row["minutes"] for row in caught]),
        "requests_affected": _spread([row["requests"] for row in caught]),
    }


def shuffle_items(model: Model, seed: int) -> Model:
    """Return the model with its item names in another order: every list names the wrong things."""
    return replace(model, item_ids=np.random.default_rng(seed).permutation(model.item_ids), version="sabotaged")


def _replay_day(shop: Shop, champion: Recommender, control: Recommender, since_ms: int) -> dict[str, Any]:
    visits = shop.visits(since_ms)
    times = np.array([visit.at_ms - since_ms for visit in visits], np.float64)
    sabotaged = Recommender(shuffle_items(champion.model, since_ms % 1_000_003), shop.recommendations)
    healthy, before, spoilt = (judge(one, visits, n=_LIST_LENGTH).hit for one in (champion, control, sabotaged))
    rates = {"champion": healthy, "control": before, "sabotaged": spoilt}
    answers = {}
    for name, hits in (("healthy", healthy), ("sabotaged", spoilt)):
        found = shop.first_rollback(hits, before, times)
        answers[name] = {"minutes": found[0], "requests": found[1]} if found else None
    return {
        "visits": len(visits),
        "hit_rates": {name: round(float(hits.mean()), 4) for name, hits in rates.items()},
        **answers,
    }


def _interactions(households: int | None) -> pa.Table:
    lines = read_lines(households)
    times = lines["event_at"].astype("int64") // 1_000
    columns: dict[str, Any] = {"subject_id": lines["subject_id"].array, "item_id": lines["item_id"].array}
    return pa.table({**columns, "event_type": ["purchase"] * len(lines), "event_ms": times.array})


def _spread(values: list[int]) -> dict[str, float] | None:
    return {"least": min(values), "median": float(np.median(values)), "most": max(values)} if values else None
