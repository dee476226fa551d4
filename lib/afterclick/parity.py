"""Two model versions on the same people: their lists now, and what both would have shown before the last visit. No Spark.

Which two, who is asked and what of; the figures themselves are `parity_rules`.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from mlflow import MlflowClient

from afterclick.connectors import model_registry
from afterclick.connectors.model_changes import list_changes
from afterclick.connectors.redis_store import StoredHistory
from afterclick.histories import History
from afterclick.models import Model, item_keys
from afterclick.parity_rules import Bin, Figures, list_ndcg, list_overlap, relative_distance, summarise
from afterclick.recommender import Recommender
from afterclick.settings import Settings

_CELLS = 4_000_000
"""Scores of one block of people: 32 MB a matrix, whatever the size of the catalogue."""
_HOUR = 3_600_000


class Pair(NamedTuple):
    """The model that served, and the one trained on everything that has happened since."""

    served: Recommender
    retrained: Recommender


class _Case(NamedTuple):
    """Somebody's history, with its end; `wanted` are the items of the visit after it, none for a list of now."""

    records: History
    last_ms: int
    wanted: npt.NDArray[np.uint64]


def choose_pair(
    client: MlflowClient, settings: Settings, *, served: str | None = None, retrained: str | None = None
) -> tuple[str, str] | None:
    """Return the version that served and the retrained one; None where there are not two.

    Retrained is the newest version that was not refused. What served until it came is the champion; after the switch,
    when the champion is the retrained one itself, the version that the switch left.
    """
    versions = model_registry.list_versions(client, settings)
    newest = (str(one["version"]) for one in versions if one["status"] != "refused")
    retrained = retrained or next(newest, None)
    served = served or model_registry.alias_version(client, settings, model_registry.CHAMPION)
    if served == retrained:
        switches = (one for one in list_changes(client, settings) if one["served"] == retrained)
        served = next((one["left"] for one in switches if one["action"] == "promote"), None)
    return (served, retrained) if served and retrained else None


def trained_ms(model: Model) -> int:
    """Return when a model was trained, in milliseconds since the epoch."""
    return int(datetime.fromisoformat(model.trained_at).timestamp() * 1000)


def measure_parity(
    pair: Pair, histories: Mapping[str, StoredHistory], judges: Collection[str], settings: Settings
) -> list[Bin]:
    """Return the figures of all bins that hold anybody.

    Parameters
    ----------
    histories
        Of people who acted since the served model was trained, up to now.
    judges
        Those among them who were kept out of training: what they wanted last is known to neither model.
    """
    length = settings.recommendations.history_length
    lists = [_current(history.records, length) for history in histories.values()]
    asked = [_last_visit(histories[subject].records, length) for subject in sorted(judges)]
    parts = [_compare(pair, block, settings.promotion.list_length) for block in _blocks(pair, lists)]
    visits = [case for case in asked if len(case.records)]
    parts += [_judge(pair, block, settings.promotion.list_length) for block in _blocks(pair, visits)]
    return summarise(Figures(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))) if parts else []


def _current(records: History, length: int) -> _Case:
    return _Case(records[-length:], int(records["event_ms"][-1]), np.zeros(0, np.uint64))


def _last_visit(records: History, length: int) -> _Case:
    moment = int(records["event_ms"][-1])
    is_before = records["event_ms"] < moment
    return _Case(records[is_before][-length:], moment, records["item_key"][~is_before])


def _blocks(pair: Pair, cases: Sequence[_Case]) -> Iterator[Sequence[_Case]]:
    size = int(np.clip(_CELLS // max(len(one.item_ids) for one in pair), 16, 1024))
    for begin in range(0, len(cases), size):
        yield cases[begin : begin + size]


def _compare(pair: Pair, cases: Sequence[_Case], n: int) -> Figures:
    """Compare lists of now and the fold-in scores under them."""
    shown = zip(*(_listed(one, cases, n) for one in pair), strict=True)
    common = np.intersect1d(pair.served.model.item_keys, pair.retrained.model.item_keys)
    scores = [_fold_in_scores(one, cases)[:, one.model.index_of(common)] for one in pair]
    unknown = np.full(len(cases), np.nan)
    overlap = np.array([list_overlap(*both) for both in shown])
    return Figures(*_places(pair, cases), overlap, relative_distance(*scores), unknown, unknown)


def _judge(pair: Pair, cases: Sequence[_Case], n: int) -> Figures:
    """Judge both models by what was wanted next."""
    unknown = np.full(len(cases), np.nan)
    found = [
        np.array([list_ndcg(keys, case.wanted, n) for keys, case in zip(_listed(one, cases, n), cases, strict=True)])
        for one in pair
    ]
    return Figures(*_places(pair, cases), unknown, unknown, *found)


def _places(pair: Pair, cases: Sequence[_Case]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return each case's history length and hours since the served model was trained."""
    lengths = np.array([len(case.records) for case in cases], np.int64)
    last = np.array([case.last_ms for case in cases], np.int64)
    return lengths, (last - trained_ms(pair.served.model)) // _HOUR


def _listed(recommender: Recommender, cases: Sequence[_Case], n: int) -> list[npt.NDArray[np.uint64]]:
    lists = recommender.lists_at([StoredHistory(case.records) for case in cases], [case.last_ms for case in cases])
    return [item_keys([item.item_id for item in top.items[:n]]) for top in lists]


def _fold_in_scores(recommender: Recommender, cases: Sequence[_Case]) -> npt.NDArray[np.float64]:
    sequences = recommender.sequences([case.records for case in cases])
    return recommender.fold_in_scores(sequences)
