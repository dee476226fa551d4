"""Is a challenger better or worse than the champion, by what people did? numpy and scipy only.

In shadow both models are asked before the same visits; served to a bucket of people each is judged by its own people.
How people come into a bucket is not known here (docs/decisions/0043-live-relevance.md).
"""

from collections.abc import Sequence
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
        Pairs: visits in shadow, people of each bucket otherwise.
    decided_after
        Pairs that sufficed; None while undecided.
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
    return _compare(champion, challenger, rules)


def compare_groups(champion: FloatVector, challenger: FloatVector, rules: RelevanceSettings) -> Comparison:
    """Compare two models on different people: one value each, as `first_of_each` gives.

    Parameters
    ----------
    champion : shape (n_people,)
        Hits, 0 or 1, of people whom the champion served, in order of time.
    challenger : shape (m_people,)
        The same of those whom the challenger served.

    Notes
    -----
    The k-th person of one bucket is compared with the k-th of the other. People are independent and fall into buckets by
    a hash, so under equal models a pair in which one alone was right is a fair coin, as in shadow, and looking at any time
    is allowed. The larger bucket's surplus is not used: with a tenth of the people as challengers this needs about twice
    as many of them as a test that uses everybody.
    """
    count = min(len(champion), len(challenger))
    return _compare(champion[:count], challenger[:count], rules)


def first_of_each(subjects: Sequence[str], hits: FloatVector) -> FloatVector:
    """Return the hit of each person's first visit, in order of time: further ones are not independent of it.

    Parameters
    ----------
    subjects, hits : shape (n_visits,)
        In order of time.
    """
    _, first = np.unique(np.asarray(subjects, dtype=str), return_index=True)
    return np.asarray(hits[np.sort(first)], np.float64)


def _compare(champion: FloatVector, challenger: FloatVector, rules: RelevanceSettings) -> Comparison:
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
        f"challenger {outcome.value}: hit rate {means[1]:.4f} against {means[0]:.4f} on {len(evidence)} pairs "
        f"({rules.min_visits} wanted), evidence 10^{last:.1f} (10^{wanted:.1f} wanted)"
    )
    return Comparison(outcome, means[1] - means[0], last, len(evidence), None if first is None else first + 1, told)
