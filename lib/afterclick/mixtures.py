"""One blend for lists in a visit and one for people who come back, each with the half-lives it was learned with. numpy only.

Within a visit the next item follows from the last ones; a whole visit follows from all that was before it.
docs/decisions/0039-visits.md has the figures.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from afterclick.blend import Blend
from afterclick.sequences import IntVector
from afterclick.source_rules import SourceRules

GAP_MS = 1_800_000
"""Where nothing else is said: a gap greater than this ends a visit."""


@dataclass(frozen=True)
class Mixture:
    """Weights of the sources, and how the sources read a history: learned together."""

    blend: Blend
    rules: SourceRules

    def to_dict(self) -> dict[str, Any]:
        """Return both for a manifest or a report."""
        return {"blend": self.blend.to_dict(), "rules": self.rules.to_dict()}

    @staticmethod
    def from_dict(described: Mapping[str, Any]) -> "Mixture":
        """Return what `to_dict` described; KeyError or TypeError where something is missing."""
        return Mixture(Blend.from_dict(described["blend"]), SourceRules.from_dict(described["rules"]))


class Mixtures(NamedTuple):
    """What lists are made by.

    Parameters
    ----------
    in_visit
        While the last event is within the gap, and for people without any.
    returning
        Once the last event is longer ago.
    gap_ms
        A gap greater than this ends a visit.
    """

    in_visit: Mixture
    returning: Mixture
    gap_ms: int = GAP_MS

    def by(self, blend: Blend) -> "Mixtures":
        """Return mixtures with another blend and the same half-lives."""
        here, back = (replace(one, blend=blend) for one in (self.in_visit, self.returning))
        return self._replace(in_visit=here, returning=back)

    @property
    def differ(self) -> bool:
        """Return whether the two make different lists."""
        return self.in_visit is not self.returning and self.in_visit.to_dict() != self.returning.to_dict()


def is_back(last_ms: IntVector, at_ms: IntVector | int, *, gap_ms: int) -> npt.NDArray[np.bool_]:
    """Return for whom a visit has ended since their last event, so that the next one begins another."""
    return np.asarray(at_ms - last_ms > gap_ms)
