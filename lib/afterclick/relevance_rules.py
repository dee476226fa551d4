"""Is the served model worse than the one before, and has the traffic changed? numpy and scipy only.

Both models are asked what they would have shown before each event, so every visit compares them directly; only visits
on which exactly one of them was right say anything. docs/decisions/0043-live-relevance.md says why.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import betabinom, binom, entropy, ks_2samp

from afterclick.setting_sections import RelevanceSettings

FloatVector = npt.NDArray[np.float64]
_PRIOR = 0.5  # Jeffreys' prior on the share of visits that only the control got right


@dataclass(frozen=True)
class Verdict:
    """What the visits so far say; `certain_after` is the number of visits that sufficed, None if they do not."""

    is_worse: bool
    drop: float
    evidence: float
    certain_after: int | None
    told: str


def judge_champion(champion: FloatVector, control: FloatVector, rules: RelevanceSettings) -> Verdict:
    """Judge the served model against the control on the same visits, in the order in which they happened.

    Parameters
    ----------
    champion, control : shape (n_visits,)
        Hits, 0 or 1.

    Notes
    -----
    The evidence is the ratio of two likelihoods of the discordant visits: a beta-binomial mixture against a fair coin.
    Under equal models it is a martingale that exceeds 1/a with probability at most a *however often one looks*
    (Ville's inequality), so an hourly look is no reason for a false alarm.
    """
    evidence = sequential_evidence(champion, control)
    worse = np.cumsum(control - champion) > 0
    seen = np.arange(1, len(champion) + 1)
    rate = np.cumsum(control) / np.maximum(seen, 1)
    drops = np.divide(
        np.cumsum(control - champion) / np.maximum(seen, 1), rate, out=np.zeros(len(seen)), where=rate > 0
    )
    certain = (
        (evidence >= -np.log10(rules.false_alarms)) & worse & (seen >= rules.min_visits) & (drops >= rules.min_drop)
    )
    first = int(seen[certain][0]) if certain.any() else None
    drop, last = (float(drops[-1]), float(evidence[-1])) if len(drops) else (0.0, 0.0)
    told = (
        f"hit rate {champion.mean() if len(champion) else 0:.4f} against {control.mean() if len(control) else 0:.4f} "
        f"on {len(champion)} visits: {drop:.0%} worse, evidence 10^{last:.1f}, wanted 10^{-np.log10(rules.false_alarms):.1f}, "
        f"{rules.min_drop:.0%} and {rules.min_visits} visits"
    )
    return Verdict(bool(len(certain) and certain[-1]), drop, last, first, told)


def sequential_evidence(one: FloatVector, other: FloatVector) -> FloatVector:
    """Return, after each visit, log10 of the evidence that two models differ, shape (n_visits,)."""
    only_other = np.cumsum(other > one)
    discordant = np.cumsum(other != one)
    mixture = betabinom.logpmf(only_other, discordant, _PRIOR, _PRIOR)
    fair = binom.logpmf(only_other, discordant, 0.5)
    return np.where(discordant > 0, (mixture - fair) / np.log(10), 0.0)


def population_stability(reference: Sequence[float], recent: Sequence[float]) -> float:
    """Return the population stability index of two counts of the same bins; above 0.25 the traffic has changed."""
    expected, found = (np.asarray(counts, np.float64) + 0.5 for counts in (reference, recent))
    return float(entropy(found, expected) + entropy(expected, found))  # the symmetric sum is the index


def popularity_shift(reference: npt.NDArray[np.int64], recent: npt.NDArray[np.int64]) -> tuple[float, float]:
    """Return the Kolmogorov-Smirnov distance of two samples of popularity ranks, and its p-value."""
    if len(reference) == 0 or len(recent) == 0:
        return 0.0, 1.0
    answer = ks_2samp(reference, recent)
    return float(answer.statistic), float(answer.pvalue)
