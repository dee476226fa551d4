"""A model with what is computed from it once: histories in, lists out. No Spark, no Arrow, so the API has it too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from afterclick.blend import SOURCES, Evidence, blend_scores, contexts_of
from afterclick.connectors.redis_store import ListedItem, StoredHistory, TopList
from afterclick.covisitation import DEPTH, score_followers
from afterclick.fold_in import FoldInBasis, contributions, fold_in_users, prepare_basis
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.models import Model, item_keys
from afterclick.popular_list import popular_list
from afterclick.ranking import top_n
from afterclick.sequences import Cells, Sequences, as_confidences, last_items, take_sequences, weigh_recent
from afterclick.setting_sections import RecommendationSettings

REASONS = ("because_you_interacted", "others_went_on", "again", "popular", "trending")
"""Why an item is listed, by the source that brought most of its score, in the order of `blend.SOURCES`."""
_FOLD_IN, _COVISITATION, _FREQUENCY, _POPULARITY = 0, 1, 2, 3


class Scored(NamedTuple):
    """Scores of some people over the catalogue, and what they were made of."""

    scores: npt.NDArray[np.floating[Any]]
    evidence: Evidence
    weights: npt.NDArray[np.floating[Any]]
    """Of the blend, shape (n_people, len(SOURCES))."""
    interest: Cells
    """What fold-in was told: each person's weighed items."""


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
    def _item_factors(self) -> npt.NDArray[np.float64]:
        return np.ascontiguousarray(self.basis.item_factors.T)

    @cached_property
    def _shares(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        popularity, sources = self.model.popularity, self.model.sources
        trend = sources.trend if sources else np.zeros_like(popularity)
        return popularity / max(popularity.max(), 1e-12), trend / max(trend.max(), 1e-12)

    @cached_property
    def _weight_of_code(self) -> npt.NDArray[np.float64]:
        weights = np.zeros(256)
        for name, weight in self.settings.event_weights.items():
            weights[EVENT_TYPE_CODES[name]] = weight
        return weights

    @cached_property
    def _popular(self) -> TopList:
        return popular_list(self.model, self.settings.list_size, now_ms=0)

    def popular(self, now_ms: int) -> TopList:
        """Return the list for people without one."""
        return msgspec.structs.replace(self._popular, generated_at_ms=now_ms)

    def lists(self, histories: Sequence[StoredHistory], now_ms: int) -> list[TopList]:
        """Return each person's list; the popular one where the model knows nothing of the history."""
        sequences = self.sequences([history.records for history in histories])
        scored = self.score(sequences)
        scores = scored.scores.copy()
        if self.settings.exclude_seen:
            scores[sequences.people, sequences.items] = -np.inf
        ranked = top_n(scores, self.settings.list_size)
        found = []
        for person, history in enumerate(histories):
            is_known = sequences.indptr[person + 1] > sequences.indptr[person]
            shown = np.isfinite(ranked.scores[person])
            items = self.explained(scored, sequences, person, ranked.items[person][shown]) if is_known else []
            source = "fold_in" if items else "popular"
            top = TopList(self.model.version, source, history.fresh_as_of_ms, now_ms, items or self._popular.items)
            found.append(top)
        return found

    def session_list(self, item_ids: Sequence[str], now_ms: int) -> TopList:
        """Return the list of an anonymous session, its items oldest first; the popular one where none is known."""
        (top,) = self.lists([StoredHistory(session_records(item_ids))], now_ms)
        return msgspec.structs.replace(top, source="session") if top.source != "popular" else top

    def carriers(
        self, records: npt.NDArray[np.void], item_ids: Sequence[str], *, most: int = 5
    ) -> dict[str, list[tuple[str, float]]]:
        """Return the past items that carried each item's fold-in score, with their shares; nothing for unknown ones.

        Notes
        -----
        Exact: the shares of all past items sum to 1. Some may be negative, those of the strongest then exceed it.

        References
        ----------
        Hu, Koren, Volinsky (2008), section 5, eq. 7.
        """
        interest = self._interest(self.sequences([records]))
        rows = self.model.index_of(item_keys(item_ids))
        known = np.flatnonzero(rows >= 0)
        if not len(interest.items) or not len(known):
            return {}
        confidence = self.model.alpha * interest.values**self.model.weight_power
        brought = contributions(self.basis, rows[known], interest.items, confidence)
        totals = brought.sum(axis=1, keepdims=True)
        shares = np.divide(brought, totals, out=np.zeros_like(brought), where=np.abs(totals) > 1e-12)  # noqa: PLR2004
        best = np.argsort(-shares, axis=1, kind="stable")[:, :most]
        return {
            item_ids[place]: [(self.item_ids[interest.items[one]], round(float(row[one]), 6)) for one in order]
            for place, row, order in zip(known.tolist(), shares, best.tolist(), strict=True)
        }

    def similar(self, item_id: str, n: int, now_ms: int) -> TopList | None:
        """Return the items most like one: cosine of the factors plus the share of steps that led there; None unknown."""
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
        ranked = top_n(scores[None, :], min(n, len(scores) - 1))
        columns = zip(ranked.items[0].tolist(), ranked.scores[0].tolist(), strict=True)
        items = [ListedItem(self.item_ids[item], round(score, 6), "similar", item_id) for item, score in columns]
        return TopList(self.model.version, "similar", 0, now_ms, items)

    def sequences(self, records: Sequence[npt.NDArray[np.void]]) -> Sequences:
        """Return what the model can use of people's histories (`histories.RECORD`)."""
        indptr = np.concatenate([[0], np.cumsum([len(one) for one in records])]).astype(np.int64)
        joined = np.concatenate(records) if records else np.zeros(0, RECORD)
        rows = self.model.index_of(joined["item_key"])
        weights = self._weight_of_code[joined["event_type"]]
        return take_sequences(indptr, rows, weights, (rows >= 0) & (weights > 0))

    def score(self, sequences: Sequences) -> Scored:
        """Return everybody's score of every item: the blend, or fold-in alone where the model has no other source."""
        sources, n_people = self.model.sources, len(sequences.indptr) - 1
        interest = self._interest(sequences)
        confidences = as_confidences(interest, n_people, alpha=self.model.alpha, power=self.model.weight_power)
        fold_in = fold_in_users(self.basis, *confidences) @ self._item_factors
        nothing = Cells(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
        if not sources:
            weights = np.tile(np.eye(len(SOURCES))[_FOLD_IN], (n_people, 1))
            return Scored(fold_in, Evidence(fold_in, nothing, nothing, *self._shares), weights, interest)
        wanted = last_items(sequences, DEPTH)
        evidence = Evidence(
            fold_in,
            score_followers(wanted, sources.read_followers(wanted[wanted >= 0])),
            weigh_recent(sequences, half_life=sources.rules.repeat_half_life),
            *self._shares,
        )
        weights = sources.blend.weights[contexts_of(sequences)]
        return Scored(blend_scores(evidence, weights), evidence, weights, interest)

    def _interest(self, sequences: Sequences) -> Cells:
        sources = self.model.sources
        return weigh_recent(sequences, half_life=sources.rules.interest_half_life if sources else np.inf)

    def explained(
        self, scored: Scored, sequences: Sequences, person: int, items: npt.NDArray[np.int64]
    ) -> list[ListedItem]:
        """Return a person's items, each with the source and the past item that brought most of its score."""
        parts = self._parts(scored, person, items)
        main = parts.argmax(axis=0)
        total = np.maximum(np.abs(parts).sum(axis=0), 1e-12)
        because, of_fold_in = self._by_fold_in(scored, person, items)
        share = np.where(main < _POPULARITY, parts[main, np.arange(len(items))], 0.0)
        by_itself = (main != _COVISITATION) & (main != _FREQUENCY)
        share = np.where(by_itself, of_fold_in * parts[_FOLD_IN], share) / total
        followed = main == _COVISITATION
        if followed.any():
            because[followed] = self._led_to(sequences, person, items[followed])
        because = np.where(main == _FREQUENCY, items, because)
        scores = np.round(scored.scores[person, items], 6)
        columns = (items, scores, main, because, np.round(np.maximum(share, 0.0), 4))
        ids = self.item_ids
        return [
            ListedItem(ids[item], score, REASONS[source], ids[past], part)
            for item, score, source, past, part in zip(*(column.tolist() for column in columns), strict=True)
        ]

    def _parts(self, scored: Scored, person: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Split scores by source, shape (len(SOURCES), n_items)."""
        evidence, weights = scored.evidence, scored.weights[person]
        rows = np.zeros((len(SOURCES), len(items)))
        rows[_FOLD_IN] = evidence.fold_in[person, items]
        for place, cells in ((_COVISITATION, evidence.covisitation), (_FREQUENCY, evidence.frequency)):
            begin, end = np.searchsorted(cells.people, [person, person + 1])
            known = cells.items[begin:end]  # sorted
            if len(known):
                at = np.minimum(np.searchsorted(known, items), len(known) - 1)
                rows[place] = np.where(known[at] == items, cells.values[begin:end][at], 0.0)
        rows[3], rows[4] = evidence.popularity[items], evidence.trend[items]
        return rows * weights[:, None]

    def _by_fold_in(
        self, scored: Scored, person: int, items: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the past item that brought most of each fold-in score, and how much of it."""
        begin, end = np.searchsorted(scored.interest.people, [person, person + 1])
        seen = scored.interest.items[begin:end]
        confidence = self.model.alpha * scored.interest.values[begin:end] ** self.model.weight_power
        brought = contributions(self.basis, items, seen, confidence)
        most = brought.argmax(axis=1)
        share = brought[np.arange(len(most)), most] / np.maximum(np.abs(brought).sum(axis=1), 1e-12)
        return seen[most], share

    def _led_to(self, sequences: Sequences, person: int, items: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Return the newest past item that each of these followed."""
        begin, end = sequences.indptr[person : person + 2]
        past = sequences.items[begin:end][::-1][:DEPTH]
        if not (sources := self.model.sources):
            return np.full(len(items), past[0])
        followed = (sources.followers[past][:, :, None] == items).any(axis=1)
        return past[followed.argmax(axis=0)]


def session_records(item_ids: Sequence[str]) -> npt.NDArray[np.void]:
    """Return the views of some items, oldest first, as a history."""
    records = np.zeros(len(item_ids), RECORD)
    records["item_key"], records["event_type"] = item_keys(item_ids), EVENT_TYPE_CODES["view"]
    return records
