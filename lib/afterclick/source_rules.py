"""How the sources read a history: half-lives and sizes. They travel with the model."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class SourceRules:
    """Parameters of the sources.

    Parameters
    ----------
    interest_half_life
        Fold-in: an interaction counts half after this many later ones of the same person.
    repeat_half_life
        Own frequency: the same.
    repeat_trend_power
        Own frequency: the exponent of the item's trend it is multiplied by; 0 = not at all.
    repeat_rate_power
        Own frequency: the exponent of the share of people who had the item again; 0 = not at all.
    trend_half_life_hours
        Trend: an event counts half after this time.
    followers
        Strongest followers kept per item.
    history_length
        Most recent interactions of a person that are used.
    """

    interest_half_life: float = 100.0
    repeat_half_life: float = 100.0
    repeat_trend_power: float = 0.0
    repeat_rate_power: float = 0.0
    trend_half_life_hours: float = 168.0
    followers: int = 128
    history_length: int = 200

    def to_dict(self) -> dict[str, Any]:
        """Return the parameters for a manifest; null stands for infinity."""
        return {name: value if math.isfinite(value) else None for name, value in asdict(self).items()}

    @staticmethod
    def from_dict(parameters: Mapping[str, Any]) -> "SourceRules":
        """Return the rules that `to_dict` described."""
        values: dict[str, Any] = {name: math.inf if value is None else value for name, value in parameters.items()}
        return SourceRules(**values)
