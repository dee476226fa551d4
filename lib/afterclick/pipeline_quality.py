"""Lists read from the running pipeline before each event, judged as `afterclick evaluate` judges: pure, no Spark.

What is served is predicted offline too, at the moments at which the lists were read: by one model, with counts as of its
training, and with the events that each list says it covers (``fresh_as_of``): the lag as it was measured, list by list.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from afterclick.evaluated_ranks import figures_of_ranks, table_by_history
from afterclick.evaluation import HELD_OUT, Plan
from afterclick.event_logs import EventLog, read_events, visible_before
from afterclick.factor_training import FactorTrainer
from afterclick.mixture_training import learn_mixtures
from afterclick.prequential import Ranks, Replay, replay_ranks
from afterclick.sequences import IntVector

LISTED = 20
"""Items of a list that is judged."""
_NOT_LISTED = 1e9


@dataclass(frozen=True)
class Reading:
    """The lists of one run, in the order in which their events were sent.

    Parameters
    ----------
    event_ms : shape (n_events,)
        When each list was read and its event sent.
    places : shape (n_events,)
        Where the list had the item that was chosen next, 0 = first; infinite = not among the first `LISTED`.
    known_ms : shape (n_events,)
        Up to when each list covered its person's events; 0 where it covered none.
    is_personal : shape (n_events,)
        Whether the list was of that person, not everybody's.
    is_measured : shape (n_events,)
        False while the programs warmed up.
    """

    event_ms: IntVector
    places: npt.NDArray[np.float64]
    known_ms: IntVector
    is_personal: npt.NDArray[np.bool_]
    is_measured: npt.NDArray[np.bool_]


def spread_instants(log: pa.Table) -> pa.Table:
    """Return a log in which a person's events of one instant are a millisecond apart, in the log's order.

    Logs of baskets often tell the minute only; what follows what within a basket would be lost in a history.
    """
    people, times = _people(log), _milliseconds(log)
    order = np.lexsort((np.arange(len(times)), times, people))
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(people[order]) != 0) | (np.diff(times[order]) != 0)
    place = np.arange(len(order))
    since = place - np.maximum.accumulate(np.where(begins, place, 0))
    spread = times.copy()
    spread[order] += since
    return _at(log, spread)


def first_visits(log: pa.Table, *, gap_ms: int, events: int) -> list[IntVector]:
    """Return the rows of each person's first visit, the earliest ones until there are `events` rows, or all.

    Later visits are left out: sent on the heels of the first they would be none of their own.
    """
    people, times = _people(log), _milliseconds(log)
    order = np.lexsort((np.arange(len(times)), times, people))
    is_other = np.concatenate([[True], np.diff(people[order]) != 0])
    is_later = np.concatenate([[False], np.diff(times[order]) > gap_ms]) & ~is_other
    so_far = np.cumsum(is_later)
    kept = order[so_far == np.maximum.accumulate(np.where(is_other, so_far, 0))]
    visits = np.split(kept, np.flatnonzero(np.diff(people[kept])) + 1)
    visits.sort(key=lambda rows: (int(times[rows[0]]), int(rows[0])))
    enough = int(np.searchsorted(np.cumsum([len(visit) for visit in visits]), events)) + 1
    return visits[:enough]


def deal(visits: list[IntVector], lanes: int, *, length: int) -> list[IntVector]:
    """Return the rows that each of some lanes sends one after another: whoever is free takes the next visit.

    Parameters
    ----------
    length
        Rows of a lane at most, so that all end together; the last visit of a lane may be cut short.
    """
    taken: list[list[IntVector]] = [[] for _ in range(lanes)]
    ends = np.zeros(lanes, np.int64)
    for visit in visits:
        lane = int(ends.argmin())
        taken[lane].append(visit)
        ends[lane] += len(visit)
    return [np.concatenate(rows)[:length] for rows in taken if rows]


def judge(
    train: pa.Table, sent: pa.Table, reading: Reading, plan: Plan, *, lag_ms: float, weights: Mapping[str, float]
) -> dict[str, Any]:
    """Return the figures of the lists that were read, and of those predicted offline.

    ``blend`` is predicted with what each list covered, ``blend_at_lag`` as if every event were known after `lag_ms`.

    Parameters
    ----------
    train
        What the model was trained on.
    sent
        The events in the order of `reading`.
    weights
        Strength of an interaction by event type.
    """
    log, count = read_events([train, _at(sent, reading.event_ms)], weights)
    order = np.argsort(reading.event_ms, kind="stable")
    before = visible_before(log, batching="event")
    late = visible_before(log, batching="event", visible_after_ms=round(lag_ms))
    told = covered(log, count, reading.known_ms[order])
    known, at_lag = offline_ranks(log, count, plan, [told, late])
    rows = order[known.events - count]
    is_case = reading.is_measured[rows] & np.isin(known.events, at_lag.events)
    rows, cases, lengths = rows[is_case], known.events[is_case], known.lengths[is_case]
    places = np.where(np.isfinite(reading.places), reading.places, _NOT_LISTED)[rows]
    by_model = {"pipeline": places} | {name: ranks[is_case] for name, ranks in known.by_model.items()}
    by_model["blend_at_lag"] = at_lag.by_model["blend"][np.searchsorted(at_lag.events, cases)]
    models = {name: figures_of_ranks(ranks) for name, ranks in by_model.items()}
    had, had_by_then = (_own_events(log, cases, visible) for visible in (told, before))
    return {
        "events": len(sent),
        "cases": len(cases),
        "train_events": count,
        "pipeline_minus_offline": _gaps(models, "blend"),
        "pipeline_minus_offline_at_lag": _gaps(models, "blend_at_lag"),
        "share_of_lists_with_every_event": round(float((had == had_by_then).mean()), 5),
        "popular_though_known": int((~reading.is_personal[rows] & (lengths > 0)).sum()),
        "models": models,
        "by_history": table_by_history(lengths, by_model),
    }


def covered(log: EventLog, count: int, known_ms: IntVector) -> IntVector:
    """Return `event_logs.visible_before` of lists that covered their person's events up to a time.

    Parameters
    ----------
    count
        Events of the training, which every list covers.
    known_ms : shape (n_events - count,)
        Of the other events, in the log's order.
    """
    events = np.arange(len(log))
    visible = events.copy()
    reached = np.searchsorted(log.event_ms, known_ms, side="right")
    visible[count:] = np.clip(reached, count, events[count:])
    return visible


def offline_ranks(log: EventLog, count: int, plan: Plan, known_before: Sequence[IntVector]) -> list[Ranks]:
    """Predict the events from `count` on by one model of those before, as a list is made: counts stand still.

    Parameters
    ----------
    known_before
        What is known before each event, one prediction each; a lag is of the pipeline, so the training is without.
    """
    plain = visible_before(log, batching="event")
    trainer = FactorTrainer(log, plan.model, threads=plan.workers)
    replay = Replay(log, plain, plan.rules, plan.repeats, trainer, is_live=False, gap_ms=plan.gap_ms)
    mixtures = learn_mixtures(replay, int(count * (1 - HELD_OUT)), count)
    is_training = np.arange(len(log)) < count
    lagging = [np.where(is_training, plain, np.maximum(visible, count)) for visible in known_before]
    return [replay_ranks(replace(replay, visible=visible), [(count, len(log))], mixtures) for visible in lagging]


def _gaps(models: Mapping[str, Mapping[str, Any]], offline: str) -> dict[str, float]:
    names = ("hr@20", "mrr@20", "ndcg@20")
    return {name: round(models["pipeline"][name] - models[offline][name], 5) for name in names}


def _own_events(log: EventLog, events: IntVector, visible: IntVector) -> IntVector:
    return np.diff(log.sequences(log.users[events], visible[events], length=len(log)).indptr)


def _people(log: pa.Table) -> IntVector:
    return np.unique(log["subject_id"].to_numpy(zero_copy_only=False).astype(str), return_inverse=True)[1]


def _milliseconds(log: pa.Table) -> IntVector:
    return pc.cast(pc.cast(log["event_at"], pa.timestamp("ms", "UTC"), safe=False), pa.int64()).to_numpy().copy()


def _at(log: pa.Table, event_ms: IntVector) -> pa.Table:
    times = pc.cast(pc.cast(pa.array(event_ms), pa.timestamp("ms", "UTC")), pa.timestamp("us", "UTC"))
    return log.set_column(log.schema.get_field_index("event_at"), "event_at", times)
