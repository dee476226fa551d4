"""The three protocols of `afterclick evaluate`: split, next and prequential, with production ranking code."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from afterclick.evaluated_lists import Held, best_settings, learn_split, split_figures
from afterclick.evaluated_ranks import figures_of_ranks, table_by_history
from afterclick.event_logs import Batching, EventLog, visible_before
from afterclick.factor_training import FactorTrainer
from afterclick.mixture_training import learn_mixtures
from afterclick.mixtures import GAP_MS, Mixture
from afterclick.parallel_replay import replay_parallel
from afterclick.prequential import Replay, midnights
from afterclick.setting_sections import ModelSettings
from afterclick.source_rules import SourceRules

Protocol = Literal["split", "next", "prequential"]
Tick = Callable[[int], Any]
HELD_OUT = 0.1
"""Share of the training events, its last, on which weights and hyper-parameters are chosen."""


@dataclass(frozen=True)
class Plan:
    """What an evaluation is told."""

    model: ModelSettings
    rules: SourceRules
    repeats: bool = False
    batching: Batching = "event"
    visible_after_ms: int = 0
    gap_ms: int = GAP_MS
    """A gap greater than this ends a visit."""
    tune: bool = True
    workers: int = 1
    train_share: float = 0.8
    """Of the interactions, where `split` has no training file."""
    seed: int = 0


def evaluate(protocol: Protocol, log: EventLog, train_count: int | None, plan: Plan, tick: Tick) -> dict[str, Any]:
    """Evaluate on a log and return the report as design.md, section 7, words it.

    Parameters
    ----------
    train_count
        Number of the log's first events that are for training; None: a random share (split) or the first fifth.
    tick
        Told the number of cases done since it was last called.
    """
    run = {"split": _split, "next": _next, "prequential": _prequential}[protocol]
    with threadpool_limits(1, "blas"):  # many small systems: BLAS threads only wait for each other
        found = run(log, train_count, plan, tick)
    return {"protocol": protocol, "repeats": "allowed" if plan.repeats else "new"} | found


def _split(log: EventLog, train_count: int | None, plan: Plan, tick: Tick) -> dict[str, Any]:
    is_train = np.arange(len(log)) < train_count if train_count else _random_part(len(log), plan)
    held = _hold_out(log, is_train, plan, by_time=train_count is not None)
    model = best_settings(log, held, plan.model, repeats=plan.repeats) if plan.tune else plan.model
    blend, rules = learn_split(log, held, model, plan.rules, repeats=plan.repeats)
    figures = split_figures(log, Held(is_train, ~is_train), model, rules, blend, repeats=plan.repeats, tick=tick)
    return _shares(log, is_train) | figures | _chosen(model, Mixture(blend, rules))


def _next(log: EventLog, train_count: int | None, plan: Plan, tick: Tick) -> dict[str, Any]:
    count = train_count or len(log) * 4 // 5
    visible = visible_before(log, batching=plan.batching, visible_after_ms=plan.visible_after_ms)
    return _replayed(log, count, visible, replace(plan, workers=1), tick, is_live=False)


def _prequential(log: EventLog, train_count: int | None, plan: Plan, tick: Tick) -> dict[str, Any]:
    visible = visible_before(log, batching=plan.batching, visible_after_ms=plan.visible_after_ms)
    return _replayed(log, train_count or len(log) // 5, visible, plan, tick, is_live=True)


def _replayed(
    log: EventLog, count: int, visible: npt.NDArray[np.int64], plan: Plan, tick: Tick, *, is_live: bool
) -> dict[str, Any]:
    is_train = np.arange(len(log)) < count
    held_from = int(count * (1 - HELD_OUT))
    held = Held(np.arange(len(log)) < held_from, is_train & (np.arange(len(log)) >= held_from))
    model = best_settings(log, held, plan.model, repeats=plan.repeats) if plan.tune else plan.model
    trainer = FactorTrainer(log, model, threads=0 if plan.workers == 1 else 1)
    replay = Replay(log, visible, plan.rules, plan.repeats, trainer, is_live, gap_ms=plan.gap_ms)
    mixtures = learn_mixtures(replay, held_from, count)
    days = midnights(log, count, len(log)) if is_live else [(count, len(log))]
    ranks = replay_parallel(replay, days, mixtures, workers=plan.workers, tick=tick)
    has_prefix = np.ones(len(ranks.events), bool) if is_live else ranks.lengths > 0
    by_model = {name: places[has_prefix] for name, places in ranks.by_model.items()}
    return (
        _shares(log, is_train)
        | {"cases": int(has_prefix.sum()), "retrained": len(days)}
        | {"models": {name: figures_of_ranks(places) for name, places in by_model.items()}}
        | {"by_history": table_by_history(ranks.lengths[has_prefix], by_model)}
        | _chosen(model, mixtures.in_visit, mixtures.returning)
    )


def _hold_out(log: EventLog, is_train: npt.NDArray[np.bool_], plan: Plan, *, by_time: bool) -> Held:
    """Hold out a part of the training events that is to the rest as the test is to the training."""
    trained = np.flatnonzero(is_train)
    if not by_time:
        inner = _random_part(len(trained), replace(plan, seed=plan.seed + 1))
        return Held(_flags(log, trained[inner]), _flags(log, trained[~inner]))
    tested = log.event_ms[~is_train]
    span = int(tested.max(initial=0) - tested.min(initial=2**62)) if len(tested) else 0
    cut = np.searchsorted(log.event_ms[trained], log.event_ms[trained[-1]] - span)
    cut = int(np.clip(cut, len(trained) // 2, len(trained) * (1 - HELD_OUT / 2)))
    return Held(_flags(log, trained[:cut]), _flags(log, trained[cut:]))


def _random_part(count: int, plan: Plan) -> npt.NDArray[np.bool_]:
    order = np.random.default_rng(plan.seed).permutation(count)
    part = np.zeros(count, bool)
    part[order[: round(count * plan.train_share)]] = True
    return part


def _flags(log: EventLog, events: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    flags = np.zeros(len(log), bool)
    flags[events] = True
    return flags


def _shares(log: EventLog, is_train: npt.NDArray[np.bool_]) -> dict[str, Any]:
    tested = ~is_train
    users, items = np.unique(log.users[tested]), np.unique(log.items[tested])
    return {
        "events": int(tested.sum()),
        "train_events": int(is_train.sum()),
        "users": len(users),
        "items": len(log.item_ids),
        "share_unseen_users": round(float((~np.isin(users, log.users[is_train])).mean()), 5) if len(users) else 0.0,
        "share_unseen_items": round(float((~np.isin(items, log.items[is_train])).mean()), 5) if len(items) else 0.0,
    }


def _chosen(model: ModelSettings, mixture: Mixture, returning: Mixture | None = None) -> dict[str, Any]:
    names = {"rank", "regularization", "alpha", "weight_power", "iterations"}
    chosen = {"model": model.model_dump(include=names), **mixture.to_dict()}
    return {"chosen": chosen | ({"returning": returning.to_dict()} if returning else {})}
