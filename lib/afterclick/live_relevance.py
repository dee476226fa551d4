"""What the served model, the one before and the challenger would have shown before each event of live traffic."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
from mlflow import MlflowClient

from afterclick.challenger_rules import Comparison, compare_shadow
from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.histories import EVENT_TYPE_CODES
from afterclick.holdout import Hits, Visit, judge_lists
from afterclick.models import item_keys
from afterclick.relevance_rules import judge_champion, popularity_shift, population_stability, sequential_evidence
from afterclick.served_model import read_recommender
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
DRIFT_TAG, CHALLENGER_TAG = "drift", "against_champion_live"
_BINS = 10


@dataclass(frozen=True)
class Measurement:
    """One version on the visits measured; the last three only of the champion."""

    role: str
    version: str
    visits: int
    hits: Hits
    coverage: float
    fallback_share: float
    evidence: float | None = None
    event_mix_psi: float | None = None
    popularity_psi: float | None = None
    popularity_ks: float | None = None

    def row(
        self,
    ) -> tuple[str, str, int, float, float, float, float, float | None, float | None, float | None, float | None]:
        """Return the columns of `schemas_relevance.RELEVANCE` after the two times."""
        hit_rate, rank = (float(values.mean()) if len(values) else 0.0 for values in self.hits)
        shown = (self.role, self.version, self.visits, hit_rate, rank, self.coverage, self.fallback_share)
        return (*shown, self.evidence, self.event_mix_psi, self.popularity_psi, self.popularity_ks)


def switched_at_ms(client: MlflowClient, settings: Settings) -> int:
    """Return when the served version was switched to; 0 when nobody noted it."""
    newest = list_changes(client, settings, most=1)
    return int(newest[0]["at_ms"]) if newest else 0


def event_shift(interactions: pa.Table, since_ms: int) -> tuple[float, np.ndarray]:
    """Return the stability index of the event types, those people's own before against since, and the recent item keys."""
    times, kinds = interactions["event_ms"].to_numpy(), interactions["event_type"].to_numpy(zero_copy_only=False)
    recent = times >= since_ms
    counts = [[int((kinds[part] == kind).sum()) for kind in EVENT_TYPE_CODES] for part in (~recent, recent)]
    index = population_stability(*counts) if min(map(sum, counts)) else 0.0
    items = interactions["item_id"].to_numpy(zero_copy_only=False)[recent]
    return index, item_keys(items.tolist())


def measure_models(
    client: MlflowClient, settings: Settings, visits: Sequence[Visit], shift: tuple[float, np.ndarray]
) -> list[Measurement]:
    """Measure champion, control and challenger on the same visits; the champion first, nothing before the first model."""
    pointer = VersionPointer(redis_store.connect(settings.redis)).versions()
    if pointer.served is None:
        return []
    roles = {"champion": pointer.served, "control": pointer.previous}
    challenger = model_registry.alias_version(client, settings, model_registry.CHALLENGER)
    roles["challenger"] = challenger if challenger not in roles.values() else None
    found = [_measure(settings, role, version, visits) for role, version in roles.items() if version]
    champion = found[0]
    evidence = [_last(sequential_evidence(champion.hits.hit, one.hits.hit)) for one in found[1:]]
    others = [replace(one, evidence=figure) for one, figure in zip(found[1:], evidence, strict=True)]
    index, keys = shift
    psi, distance = _item_shift(settings, champion.version, keys)
    return [replace(champion, event_mix_psi=index, popularity_psi=psi, popularity_ks=distance), *others]


def rollback_reason(client: MlflowClient, settings: Settings, found: Sequence[Measurement], now_ms: int) -> str | None:
    """Return why the champion must go, None when it stays: evidence, cooldown, and a control that was not rolled back."""
    by_role = {one.role: one for one in found}
    champion, control = by_role.get("champion"), by_role.get("control")
    if champion is None or control is None:
        return None
    verdict = judge_champion(champion.hits.hit, control.hits.hit, settings.relevance)
    logger.info("champion judged worse=%s %s", verdict.is_worse, verdict.told)
    if not verdict.is_worse:
        return None
    changes = list_changes(client, settings)
    last = max((int(change["at_ms"]) for change in changes if change["action"] == "rollback"), default=0)
    if now_ms - last < settings.relevance.cooldown_hours * 3_600_000:
        logger.warning("no rollback: the last one was less than %d h ago", settings.relevance.cooldown_hours)
        return None
    if any(change["action"] == "rollback" and change["left"] == control.version for change in changes):
        logger.warning("no rollback: version %s was itself rolled back", control.version)
        return None
    return f"{verdict.told}; certain after {verdict.certain_after} visits"


def note_drift(client: MlflowClient, settings: Settings, found: Sequence[Measurement]) -> None:
    """Tag the champion with what has drifted beyond the limit; an empty tag when nothing has, or too little is known.

    With fewer than `relevance.min_visits` visits the index is large by chance: of 20 events above .25 in two of three cases.
    """
    if not found:
        return
    shifts = {"event_mix_psi": found[0].event_mix_psi, "popularity_psi": found[0].popularity_psi}
    limit, is_known = settings.relevance.max_psi, found[0].visits >= settings.relevance.min_visits
    beyond = {name: figure for name, figure in shifts.items() if is_known and figure and figure > limit}
    told = ", ".join(f"{name} {figure:.2f} > {limit:g}" for name, figure in beyond.items())
    model_registry.set_tags(client, settings, found[0].version, {DRIFT_TAG: told})
    if told:
        logger.warning("traffic has drifted: %s", told)


def note_challenger(client: MlflowClient, settings: Settings, found: Sequence[Measurement]) -> Comparison | None:
    """Tag the challenger with how it fares in shadow beside the champion; None where there is no challenger."""
    by_role = {one.role: one for one in found}
    champion, challenger = by_role.get("champion"), by_role.get("challenger")
    if champion is None or challenger is None:
        return None
    comparison = compare_shadow(champion.hits.hit, challenger.hits.hit, settings.relevance)
    model_registry.set_tags(client, settings, challenger.version, {CHALLENGER_TAG: comparison.told})
    logger.info("challenger judged version=%s outcome=%s %s", challenger.version, comparison.outcome, comparison.told)
    return comparison


def _measure(settings: Settings, role: str, version: str, visits: Sequence[Visit]) -> Measurement:
    recommender = read_recommender(settings, version)
    size = settings.promotion.list_length
    lists = recommender.lists_at([visit.history for visit in visits], [visit.at_ms for visit in visits])
    shown = {item.item_id for top in lists for item in top.items[:size]}
    fallbacks = sum(top.source == "popular" for top in lists) / max(1, len(lists))
    hits = judge_lists(lists, visits, n=size)
    return Measurement(role, version, len(visits), hits, len(shown) / len(recommender.item_ids), fallbacks)


def _item_shift(settings: Settings, version: str, keys: np.ndarray) -> tuple[float, float]:
    """Compare the popularity ranks of recent items with those the model learned; unknown items rank last."""
    model = read_recommender(settings, version).model
    rank = np.empty(len(model.popularity), np.int64)
    rank[np.argsort(-model.popularity, kind="stable")] = np.arange(len(rank))
    places = model.index_of(keys)
    recent = np.where(places >= 0, rank[places], len(rank))
    cumulated = np.cumsum(np.sort(model.popularity)[::-1]) / (model.popularity.sum() or 1.0)
    edges = np.searchsorted(cumulated, np.linspace(0, 1, _BINS + 1)[1:-1])
    learned = np.repeat(np.arange(len(rank)), np.maximum(1, np.round(np.sort(model.popularity)[::-1]).astype(np.int64)))
    counts = [np.bincount(np.searchsorted(edges, ranks, side="left"), minlength=_BINS) for ranks in (learned, recent)]
    if not len(recent):
        return 0.0, 0.0
    scaled = counts[0] * (counts[1].sum() / counts[0].sum())
    return population_stability(scaled.tolist(), counts[1].tolist()), popularity_shift(learned, recent)[0]


def _last(values: np.ndarray) -> float:
    return float(values[-1]) if len(values) else 0.0
