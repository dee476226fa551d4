"""A model with what is computed from it once: histories in, lists out. No Spark, no Arrow, so the API has it too."""

import copy
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple, Self

import msgspec
import numpy as np
import numpy.typing as npt

from afterclick.blend import Blend, single_source_blend
from afterclick.connectors.redis_store import StoredHistory
from afterclick.fold_in import FoldInBasis, contributions, prepare_basis
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.list_records import REASONS, TopList
from afterclick.listed_reasons import Explainer
from afterclick.mixtures import Mixture, Mixtures, is_back
from afterclick.model_evidence import Listed, ModelBasis, ModelEvidence
from afterclick.models import Model, item_keys
from afterclick.places import ListedItem
from afterclick.popular_list import popular_list, popular_shares
from afterclick.ranking import top_n
from afterclick.sequences import Cells, Sequences, take_sequences
from afterclick.setting_sections import RecommendationSettings
from afterclick.source_rules import SourceRules

_ALONE = Mixture(single_source_blend("fold_in"), SourceRules(math.inf))
_REASONS = np.array(REASONS, object)
_FOLD_IN_ALONE = Mixtures(_ALONE, _ALONE)


class Explained(NamedTuple):
    """Why an item is listed: the past item that brought most of its score, how much of it (0-1), and fold-in's carriers."""

    because: str | None
    share: float | None
    carried_by: list[tuple[str, float]]


@dataclass(frozen=True)
class Recommender:
    """Makes lists of one model version."""

    model: Model
    settings: RecommendationSettings

    @cached_property
    def basis(self) -> FoldInBasis:
        """Return the fold-in basis."""
        return prepare_basis(self.model.item_factors, regularization=self.model.regularization)

    @cached_property
    def item_ids(self) -> list[str]:
        """Return the item ids as plain strings."""
        return [str(item_id) for item_id in self.model.item_ids]

    @cached_property
    def _names(self) -> npt.NDArray[np.object_]:
        return np.array(self.item_ids, object)

    @cached_property
    def _model_basis(self) -> ModelBasis:
        return ModelBasis(self.model, self.basis, *popular_shares(self.model))

    @cached_property
    def _weight_of_code(self) -> npt.NDArray[np.float64]:
        weights = np.zeros(256)
        for name, weight in self.settings.event_weights.items():
            weights[EVENT_TYPE_CODES[name]] = weight
        return weights

    @cached_property
    def _mixtures(self) -> Mixtures:
        return self.model.sources.mixtures if self.model.sources else _FOLD_IN_ALONE

    @cached_property
    def _explain(self) -> Explainer:
        return Explainer(self.model, self.basis)

    @cached_property
    def _popular(self) -> TopList:
        return popular_list(self.model, self.settings.list_size, now_ms=0)

    def by_blend(self, blend: Blend) -> Self:
        """Return one that lists by another blend, and shares what is computed from the model."""
        _ = self._model_basis, self._names, self._popular
        other = copy.copy(self)
        vars(other)["_mixtures"] = self._mixtures.by(blend)
        return other

    def popular(self, now_ms: int) -> TopList:
        """Return the list for people without one."""
        return msgspec.structs.replace(self._popular, generated_at_ms=now_ms)

    def lists(self, histories: Sequence[StoredHistory], now_ms: int) -> list[TopList]:
        """Return each person's list; the popular one where the model knows nothing of the history.

        Notes
        -----
        Who is in a visit at `now_ms` has two lists, the second for when they come back; all others that one only.
        """
        mixtures = self._mixtures
        both = (mixtures.in_visit, mixtures.returning) if mixtures.differ else (mixtures.in_visit,)
        ends = [int(one.records["event_ms"][-1]) if len(one.records) else now_ms for one in histories]
        back = is_back(np.array(ends, np.int64), now_ms, gap_ms=mixtures.gap_ms) & mixtures.differ
        told = list(zip(histories, back.tolist(), ends, strict=True))
        here = iter(self._listed([one.records for one, is_away, _ in told if not is_away], both))
        away = iter(self._listed([one.records for one, is_away, _ in told if is_away], (mixtures.returning,)))
        return [
            self._top(history, next(away if is_away else here), now_ms, end + mixtures.gap_ms)
            for history, is_away, end in told
        ]

    def _top(
        self, history: StoredHistory, lists: Sequence[list[ListedItem]], now_ms: int, later_after_ms: int
    ) -> TopList:
        items, *later = lists
        source, shown = ("fold_in", items) if items else ("popular", self._popular.items)
        top = TopList(self.model.version, source, history.fresh_as_of_ms, now_ms, shown)
        return msgspec.structs.replace(top, later=later[0], later_after_ms=later_after_ms) if any(later) else top

    def lists_at(self, histories: Sequence[StoredHistory], moments: Sequence[int]) -> list[TopList]:
        """Return each person's list as it would have been shown at a moment of their own, in ms since the epoch."""
        lists = self.lists(histories, 0) if histories else []
        return [top.at(at_ms) for top, at_ms in zip(lists, moments, strict=True)]

    def session_list(self, item_ids: Sequence[str], now_ms: int) -> TopList:
        """Return the list of an anonymous session, its items oldest first; the popular one where none is known."""
        ((items,),) = self._listed([session_records(item_ids)], (self._mixtures.in_visit,))
        return TopList(self.model.version, "session", 0, now_ms, items) if items else self.popular(now_ms)

    def _listed(
        self, records: Sequence[npt.NDArray[np.void]], mixtures: Sequence[Mixture]
    ) -> list[list[list[ListedItem]]]:
        """Return the best items for each history by each mixture; nothing where the model knows nothing of it."""
        if not records:
            return []
        sequences = self.sequences(records)
        seen = (sequences.people, sequences.items) if self.settings.exclude_seen else None
        evidence = ModelEvidence(self._model_basis, sequences)
        best = [evidence.known(mixture).best(self.settings.list_size, seen) for mixture in mixtures]
        is_known = np.diff(sequences.indptr) > 0
        lists = [self._places(one, is_known) for one in best]
        return [list(of_person) for of_person in zip(*lists, strict=True)]

    def _places(self, best: Listed, is_known: npt.NDArray[np.bool_]) -> list[list[ListedItem]]:
        """Return the best items of those of whom something is known, each with the reason that its score is mostly made of."""
        is_listed = np.isfinite(best.scores) & is_known[:, None]
        columns = self._names[best.items[is_listed]], best.scores[is_listed].round(6), _REASONS[best.mains[is_listed]]
        places = list(map(ListedItem, *(column.tolist() for column in columns)))
        cuts = np.concatenate([[0], np.cumsum(np.count_nonzero(is_listed, axis=1))]).tolist()
        return [places[begin:end] for begin, end in pairwise(cuts)]

    def explain(
        self, records: npt.NDArray[np.void], listed: Mapping[str, str], *, most: int = 5, now_ms: int = 0
    ) -> dict[str, Explained]:
        """Return why a person's list has its items; nothing for items that the model does not know, or without a past.

        Parameters
        ----------
        listed
            Reason by item id. Where another source brings most of the score (a trigger put the item in front, or it fills
            the list), there is no `because`.
        most
            Past items in `Explained.carried_by`.
        now_ms
            When the list is shown; 0 = in the visit.
        """
        mixtures = self._mixtures
        is_away = bool(len(records)) and is_back(records["event_ms"][-1], now_ms, gap_ms=mixtures.gap_ms)
        sequences = self.sequences([records])
        told = list(listed.items())
        rows = self.model.index_of(item_keys(list(listed)))
        known = np.flatnonzero(rows >= 0)
        if not len(sequences.items) or not len(known):
            return {}
        evidence = ModelEvidence(self._model_basis, sequences)
        sources = evidence.known(mixtures.returning if is_away else mixtures.in_visit)
        whys = self._explain(sources, sequences, rows[known])
        carriers = self._carriers(sources.interest, rows[known], most)
        explained = {}
        for place, why, carried_by in zip(known.tolist(), whys, carriers, strict=True):
            item_id, reason = told[place]
            is_it = why.reason == reason
            because, share = (self.item_ids[why.because], why.share) if is_it else (None, None)
            explained[item_id] = Explained(because, share, carried_by)
        return explained

    def _carriers(self, interest: Cells, rows: npt.NDArray[np.int64], most: int) -> list[list[tuple[str, float]]]:
        """Return the past items that carried each fold-in score, with their shares.

        Notes
        -----
        Exact: the shares of all past items sum to 1. Some may be negative, those of the strongest then exceed it.

        References
        ----------
        Hu, Koren, Volinsky (2008), section 5, eq. 7.
        """
        confidence = self.model.alpha * interest.values**self.model.weight_power
        brought = contributions(self.basis, rows, interest.items, confidence)
        totals = brought.sum(axis=1, keepdims=True)
        shares = np.divide(brought, totals, out=np.zeros_like(brought), where=np.abs(totals) > 1e-12)  # noqa: PLR2004
        best = np.argsort(-shares, axis=1, kind="stable")[:, :most]
        return [
            [(self.item_ids[interest.items[one]], round(float(row[one]), 6)) for one in order]
            for row, order in zip(shares, best.tolist(), strict=True)
        ]

    def similar(self, item_id: str, n: int, now_ms: int, *, among: Collection[str] = ()) -> TopList | None:
        """Return the items most like one: cosine of the factors plus the share of steps that led there; None unknown.

        Parameters
        ----------
        among
            The `n` best of these come first, then the `n` best of all.
        """
        row = int(self.model.index_of(item_keys([item_id]))[0])
        if row < 0:
            return None
        factors = self.basis.item_factors
        lengths = np.maximum(np.linalg.norm(factors, axis=1), 1e-12)
        scores = factors @ factors[row] / (lengths * lengths[row])
        if sources := self.model.sources:
            followers = sources.read_followers(np.array([row]))
            scores[followers.followers] += followers.weights / max(float(followers.totals[0]), 1e-12)
        scores[row] = -np.inf
        best = top_n(scores[None, :], min(n, len(scores) - 1)).items[0]
        rows = self.model.index_of(item_keys(list(among)))
        rows = rows[(rows >= 0) & (rows != row)]
        rows = rows[np.argsort(-scores[rows], kind="stable")][:n]
        best = np.concatenate([rows, best[~np.isin(best, rows)]]).tolist()
        items = [ListedItem(self.item_ids[item], round(float(scores[item]), 6), "similar") for item in best]
        return TopList(self.model.version, "similar", 0, now_ms, items)

    def sequences(self, records: Sequence[npt.NDArray[np.void]]) -> Sequences:
        """Return what the model can use of people's histories (`histories.RECORD`)."""
        indptr = np.concatenate([[0], np.cumsum([len(one) for one in records])]).astype(np.int64)
        joined = np.concatenate(records) if records else np.zeros(0, RECORD)
        rows = self.model.index_of(joined["item_key"])
        weights = self._weight_of_code[joined["event_type"]]
        return take_sequences(indptr, rows, weights, (rows >= 0) & (weights > 0))

    def fold_in_scores(self, sequences: Sequences) -> npt.NDArray[np.float64]:
        """Return what fold-in alone makes of every item, as for people in a visit; shape (n_people, n_items)."""
        _, vectors = ModelEvidence(self._model_basis, sequences).folded(
            self._mixtures.in_visit.rules.interest_half_life
        )
        return np.asarray(vectors @ self.basis.item_factors.T, np.float64)


def session_records(item_ids: Sequence[str]) -> npt.NDArray[np.void]:
    """Return the views of some items, oldest first, as a history."""
    records = np.zeros(len(item_ids), RECORD)
    records["item_key"], records["event_type"] = item_keys(item_ids), EVENT_TYPE_CODES["view"]
    return records
