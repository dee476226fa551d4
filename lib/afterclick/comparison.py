"""Two blends side by side: who is on which side of a comparison, and whose lists are made by which blend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from afterclick.blend import Blend, fixed_blend
from afterclick.buckets import bucket_of
from afterclick.connectors.redis_store import StoredHistory
from afterclick.list_records import TopList
from afterclick.recommender import Recommender
from afterclick.serving_settings import ServingSettings


@dataclass(frozen=True)
class Comparison:
    """The sides of a comparison: how large they are, and the blends of those that have their own."""

    shares: Mapping[str, float] = field(default_factory=dict)
    salt: str = ""
    blends: Mapping[str, Blend] = field(default_factory=dict)

    @classmethod
    def of(cls, rules: ServingSettings) -> Self:
        """Return the comparison of the settings (``serving.buckets``)."""
        blends = {name: fixed_blend(one.blend.model_dump()) for name, one in rules.buckets.items() if one.blend}
        return cls({name: one.share for name, one in rules.buckets.items()}, rules.bucket_salt, blends)

    def side_of(self, unit: str) -> str | None:
        """Return the side of a person, by pseudonym; None without a comparison."""
        return bucket_of(unit, self.shares, salt=self.salt)

    def recommender(self, recommender: Recommender, side: str | None) -> Recommender:
        """Return what makes the lists of a side; a model without sources lists by fold-in alone, whatever the side."""
        blend = self.blends.get(side or "")
        return recommender.by_blend(blend) if blend and recommender.model.sources else recommender

    def lists(
        self, recommender: Recommender, people: Sequence[str], histories: Sequence[StoredHistory], now_ms: int
    ) -> list[TopList]:
        """Return people's lists as `Recommender.lists`, each by the blend of their side."""
        if not self.blends:
            return recommender.lists(histories, now_ms)
        rows_of: dict[str | None, list[int]] = {}
        for row, person in enumerate(people):
            side = self.side_of(person)
            rows_of.setdefault(side if side in self.blends else None, []).append(row)
        found: dict[int, TopList] = {}
        for side, rows in rows_of.items():
            made = self.recommender(recommender, side).lists([histories[row] for row in rows], now_ms)
            found.update(zip(rows, made, strict=True))
        return [found[row] for row in range(len(people))]


NO_COMPARISON = Comparison()
"""Everybody's lists are made by the model's blend."""
