"""Is a challenger in shadow better or worse than the champion, by what people did? numpy and scipy only.

Both models are asked before the same visits (docs/decisions/0043-live-relevance.md).
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from afterclick.relevance_rules import sequential_evidence
from afterclick.setting_sections import RelevanceSettings

FloatVector = npt.NDArray[np.float64]


class Outcome(StrEnum):
    """What is known of a challenger."""

    BETTER = "better"
    WORSE = "worse"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Comparison:
    """A challenger beside the champion.

    Parameters
    ----------
    difference
        Challenger's hit rate minus the champion's, of all that were compared.
    evidence
        log10, at the end; positive says that the two differ.
    compared
        Visits.
    decided_after
        Visits that sufficed; None while undecided.
    """

    outcome: Outcome
    difference: float
    evidence: float
    compared: int
    decided_after: int | None
    told: str


def compare_shadow(champion: FloatVector, challenger: FloatVector, rules: RelevanceSettings) -> Comparison:
    """Compare two models on the same visits.

    Parameters
    ----------
    champion, challenger : shape (n_visits,)
        Hits, 0 or 1, in order of time.

    Raises
    ------
    ValueError
        If they are not of equally many visits.
    """
    if len(champion) != len(challenger):
        message = f"shadow compares the same visits: {len(champion)} visits of the champion, {len(challenger)} of the challenger"
        raise ValueError(message)
    evidence = sequential_evidence(champion, challenger)
    wanted = -np.log10(rules.false_alarms)
    lead = np.cumsum(challenger - champion)
    seen = np.arange(1, len(evidence) + 1)
    decided = np.flatnonzero((evidence >= wanted) & (seen >= rules.min_visits) & (lead != 0))
    first = int(decided[0]) if len(decided) else None
    outcome = Outcome.UNDECIDED
    if first is not None:
        outcome = Outcome.BETTER if lead[first] > 0 else Outcome.WORSE
    means = [float(values.mean()) if len(values) else 0.0 for values in (champion, challenger)]
    last = float(evidence[-1]) if len(evidence) else 0.0
    told = (
        f"challenger {outcome.value}: hit rate {means[1]:.4f} against {means[0]:.4f} on {len(evidence)} visits "
        f"({rules.min_visits} wanted), evidence 10^{last:.1f} (10^{wanted:.1f} wanted)"
    )
    return Comparison(outcome, means[1] - means[0], last, len(evidence), None if first is None else first + 1, told)
