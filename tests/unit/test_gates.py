"""Gates: each refuses exactly beyond its limit and says both figures."""

import numpy as np
import pytest

from afterclick.gates import array_gates, data_gates, file_gates, quality_gate, refusal
from afterclick.setting_sections import PromotionSettings
from builders import make_model

RULES = PromotionSettings(min_people=10, min_interactions=20, min_holdout_people=3, max_bytes=1_000_000)


def test_refusal_names_every_failed_gate_with_figure_and_limit() -> None:
    reason = refusal(data_gates(9, 19, 3, RULES))

    assert reason == "training_people: 9, at least 10 wanted; training_interactions: 19, at least 20 wanted"


def test_refusal_is_none_exactly_at_the_limits() -> None:
    assert refusal(data_gates(10, 20, 3, RULES) + file_gates(1.0, 30.0, 0, RULES)) is None


@pytest.mark.parametrize(
    ("arguments", "name"), [((1.1, 1, 0), "size_mb"), ((1, 31, 0), "load_seconds"), ((1, 1, 1), "lists_unlike_pyfunc")]
)
def test_file_gates_refuse_beyond_the_limit(arguments: tuple[float, float, float], name: str) -> None:
    assert [gate.name for gate in file_gates(*arguments, RULES) if not gate.passed] == [name]


def test_array_gates_refuse_another_rank() -> None:
    assert "rank: 4, settings want 8" in str(refusal(array_gates(make_model(), None, 8, RULES)))


def test_array_gates_refuse_an_exploded_factor() -> None:
    model = make_model()
    model.item_factors[0] *= 1e6

    assert "norm_ratio" in str(refusal(array_gates(model, None, 4, RULES)))


def test_array_gates_refuse_a_model_of_zeros() -> None:
    model = make_model(item_factors=np.zeros((5, 4), np.float32))

    assert "norm_ratio" in str(refusal(array_gates(model, None, 4, RULES)))


def test_array_gates_refuse_a_candidate_that_does_not_know_what_people_want() -> None:
    champion = make_model(items=5)
    candidate = make_model(items=5, item_ids=np.array([f"other-{n}" for n in range(5)]))

    assert "item_coverage: 0, at least 0.8 wanted" in str(refusal(array_gates(candidate, champion, 4, RULES)))


def test_quality_gate_passes_a_loss_within_tolerance() -> None:
    champion = np.ones(1000)
    candidate = np.concatenate([np.ones(960), np.zeros(40)])

    assert quality_gate("q", candidate, champion, tolerance=0.05).passed


def test_quality_gate_refuses_a_loss_beyond_tolerance_and_noise() -> None:
    champion = np.ones(1000)
    candidate = np.concatenate([np.ones(900), np.zeros(100)])

    gate = quality_gate("q", candidate, champion, tolerance=0.05)

    assert (gate.passed, round(gate.figure, 6), gate.limit) == (False, -0.1, -0.05)
    assert gate.told == "hit rate 0.9000 against 1.0000 on 1000 visits, allowed loss 0.0500"


def test_quality_gate_lets_noise_pass_where_evidence_is_thin() -> None:
    assert quality_gate("q", np.array([1.0, 0, 0]), np.array([1.0, 1, 0]), tolerance=0.05).passed


def test_quality_gate_says_nothing_without_visits() -> None:
    assert quality_gate("q", np.zeros(0), np.zeros(0), tolerance=0.0).passed
