"""What a model carries beside its factors: followers, trend, and the blend learned on the last tenth of the events."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from threadpoolctl import threadpool_limits

from afterclick.blend import default_blend
from afterclick.errors import ModelError
from afterclick.event_logs import EventLog, read_events, visible_before
from afterclick.factor_training import FactorTrainer
from afterclick.mixture_training import learn_mixtures
from afterclick.mixtures import GAP_MS, Mixture, Mixtures
from afterclick.model_sources import ModelSources
from afterclick.prequential import Replay
from afterclick.replayed_sources import ReplayedSources
from afterclick.sequences import repeat_rates
from afterclick.setting_sections import ModelSettings, RecommendationSettings
from afterclick.source_rules import SourceRules
from afterclick.training import Training

if TYPE_CHECKING:
    from afterclick.settings import Settings

MOST_EVENTS = 2_000_000
"""The latest events that are used: bounds the driver's memory at about 1 GB."""
FEWEST_HELD_OUT = 100
_HELD_OUT = 0.1


def add_sources(training: Training, interactions: pa.Table, settings: "Settings") -> Training:
    """Return the training with a model that has its sources.

    Parameters
    ----------
    interactions
        ``subject_id, item_id, event_type, event_ms`` of the training data, each interaction once, in any order.

    Raises
    ------
    ModelError
        If the interactions name an item that the model does not know.
    """
    log = _log_of(interactions, training.model.item_ids, settings.recommendations)
    with threadpool_limits(1, "blas"):  # thousands of small systems: BLAS threads only wait for each other
        repeats, gap_ms = not settings.recommendations.exclude_seen, round(settings.sessions.gap_minutes * 60_000)
        sources = learn_sources(log, settings.model, repeats=repeats, gap_ms=gap_ms)
    return replace(training, model=replace(training.model, sources=sources))


def count_again(training: Training, interactions: pa.Table, settings: "Settings") -> Training:
    """Return the training with its model's counts as of now, blended as they were; parameters and errors of `add_sources`."""
    if not (sources := training.model.sources):
        return training
    log = _log_of(interactions, training.model.item_ids, settings.recommendations)
    return replace(training, model=replace(training.model, sources=count_sources(log, sources.mixtures)))


def learn_sources(log: EventLog, settings: ModelSettings, *, repeats: bool, gap_ms: int = GAP_MS) -> ModelSources:
    """Count followers and trend over a whole log, and learn on its last tenth how to blend them.

    Notes
    -----
    The held-out events are predicted with counts as of their begin, as a model's lists are made until the next one.
    """
    begin = int(len(log) * (1 - _HELD_OUT))
    visible = visible_before(log, batching="event")
    trainer = FactorTrainer(log, settings)
    most = settings.blend_cases
    replay = Replay(log, visible, SourceRules(), repeats, trainer, is_live=False, most_cases=most, gap_ms=gap_ms)
    if len(log) - begin < FEWEST_HELD_OUT:
        unlearned = Mixture(default_blend(), replay.rules)
        mixtures = Mixtures(unlearned, unlearned, gap_ms)
    else:
        mixtures = learn_mixtures(replay, begin, len(log))
    return count_sources(log, mixtures)


def count_sources(log: EventLog, mixtures: Mixtures) -> ModelSources:
    """Count followers, trend and repeats over a whole log."""
    counted = ReplayedSources(log, mixtures.in_visit.rules)
    counted.advance(len(log))
    table = counted.table
    rates = repeat_rates(*counted.buyers)
    return ModelSources(table.followers, table.weights, table.totals, counted.trend, rates, mixtures)


def _log_of(interactions: pa.Table, item_ids: np.ndarray, settings: RecommendationSettings) -> EventLog:
    """Return the latest events over a model's catalogue, in an order that does not depend on that of the rows."""
    ordered = interactions.sort_by(
        [(name, "ascending") for name in ("event_ms", "subject_id", "item_id", "event_type")]
    )
    recent = ordered.slice(max(0, len(ordered) - MOST_EVENTS))
    event_at = recent["event_ms"].cast(pa.timestamp("ms", "UTC"))
    named = recent.select(["subject_id", "item_id", "event_type"]).append_column("event_at", event_at)
    log, _ = read_events([named], settings.event_weights)
    rows = np.searchsorted(item_ids, log.item_ids)
    if (rows == len(item_ids)).any() or (item_ids[np.minimum(rows, len(item_ids) - 1)] != log.item_ids).any():
        message = f"interactions name items outside the model's {len(item_ids)}: train on the same interactions"
        raise ModelError(message)
    return replace(log, item_ids=item_ids, items=rows[log.items])
