"""What a candidate must show before it may be served, each rule with its figure and its limit. numpy only."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from afterclick.models import Model
from afterclick.setting_sections import PromotionSettings

FloatVector = npt.NDArray[np.float64]
_NOISE = 2.0  # standard errors: a worse candidate this close may be chance


@dataclass(frozen=True)
class Gate:
    """One rule's verdict; `figure` and `limit` as in `told`."""

    name: str
    passed: bool
    figure: float
    limit: float
    told: str


def refusal(gates: Sequence[Gate]) -> str | None:
    """Return why a candidate is refused, all reasons at once; None when every gate is passed."""
    return "; ".join(f"{gate.name}: {gate.told}" for gate in gates if not gate.passed) or None


def data_gates(people: float, interactions: float, holdout_people: float, rules: PromotionSettings) -> list[Gate]:
    """Ask whether there is enough to learn from and to judge by."""
    return [
        _at_least("training_people", people, rules.min_people),
        _at_least("training_interactions", interactions, rules.min_interactions),
        _at_least("holdout_people", holdout_people, rules.min_holdout_people),
    ]


def file_gates(megabytes: float, load_seconds: float, differing_lists: float, rules: PromotionSettings) -> list[Gate]:
    """Ask whether stored files load fast enough and give the answers that MLflow's pyfunc gives."""
    return [
        _at_most("size_mb", megabytes, rules.max_bytes / 1e6),
        _at_most("load_seconds", load_seconds, rules.max_load_seconds),
        _at_most("lists_unlike_pyfunc", differing_lists, 0),
    ]


def array_gates(model: Model, champion: Model | None, rank: int, rules: PromotionSettings) -> list[Gate]:
    """Ask whether factors are of the wanted rank, sane in length, and for the items that people want."""
    norms = np.linalg.norm(model.item_factors.astype(np.float64), axis=1)
    middle = float(np.median(norms[norms > 0])) if (norms > 0).any() else 0.0
    ratio = float(norms.max()) / middle if middle else np.inf
    gates = [
        Gate("rank", model.item_factors.shape[1] == rank, model.item_factors.shape[1], rank,
             f"{model.item_factors.shape[1]}, settings want {rank}"),
        _at_most("norm_ratio", min(ratio, 1e12), rules.max_norm_ratio),
    ]  # fmt: skip
    if champion is not None:
        known = np.isin(champion.item_keys, model.item_keys)
        covered = float(champion.popularity[known].sum() / (champion.popularity.sum() or 1.0))
        gates.append(_at_least("item_coverage", covered, rules.min_coverage))
    return gates


def quality_gate(name: str, candidate: FloatVector, other: FloatVector, *, tolerance: float) -> Gate:
    """Ask whether the candidate is no worse than another list-maker on the same visits, beyond tolerance and noise.

    Parameters
    ----------
    candidate, other : shape (n_visits,)
        Hits (0 or 1) on the same visits.
    tolerance
        Share of the other's hit rate that may be lost.
    """
    difference = candidate - other
    count = len(difference)
    mean = float(difference.mean()) if count else 0.0
    noise = float(difference.std(ddof=1) / np.sqrt(count)) if count > 1 else 0.0
    other_rate = float(other.mean()) if count else 0.0
    limit = -max(tolerance * other_rate, _NOISE * noise)
    told = f"hit rate {other_rate + mean:.4f} against {other_rate:.4f} on {count} visits, allowed loss {-limit:.4f}"
    return Gate(name, mean >= limit, mean, limit, told)


def _at_least(name: str, figure: float, limit: float) -> Gate:
    return Gate(name, figure >= limit, figure, limit, f"{figure:g}, at least {limit:g} wanted")


def _at_most(name: str, figure: float, limit: float) -> Gate:
    return Gate(name, figure <= limit, figure, limit, f"{figure:g}, at most {limit:g} allowed")
