"""How the sources read a history: half-lives and sizes. They travel with the model."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SourceRules:
    """Parameters of the sources.

    Parameters
    ----------
    interest_half_life
        Fold-in: an interaction counts half after this many later ones of the same person.
    repeat_half_life
        Own frequency: the same.
    trend_half_life_hours
        Trend: an event counts half after this time.
    followers
        Strongest followers kept per item.
    history_length
        Most recent interactions of a person that are used.
    """

    interest_half_life: float = 100.0
    repeat_half_life: float = 100.0
    trend_half_life_hours: float = 72.0
    followers: int = 128
    history_length: int = 200
