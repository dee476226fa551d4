"""Spark's ALS behind the same function: its factors are those of the formula, and fold-in works on them as on implicit's."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import SparkSession
from scipy.sparse import csr_matrix

from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.mllib_training import fit_item_factors
from afterclick.setting_sections import ModelSettings
from afterclick.training import fit_item_factors as fit_by_settings

RULES = ModelSettings.model_validate(
    {"tracking_uri": "sqlite://", "artifact_root": "none", "backend": "mllib", "rank": 4, "iterations": 3}
    | {"regularization": 2.0, "alpha": 3.0}
)


@pytest.fixture
def trainer(spark: SparkSession, tmp_path: Path) -> SparkSession:
    """Return the session with a folder to cut the lineage in."""
    spark.sparkContext.setCheckpointDir(str(tmp_path))
    return spark


def tastes(people: int = 60, items: int = 20) -> csr_matrix:
    """Half of the people use even items, the other half odd ones, each at most once; nobody the last item."""
    draw = np.random.default_rng(0)
    chosen = draw.random((people, items)) < 0.5
    chosen &= (np.arange(people)[:, None] % 2) == (np.arange(items)[None, :] % 2)
    chosen[:, -1] = False
    return csr_matrix(chosen.astype(np.float32))


def fold_in(factors: np.ndarray, weights: csr_matrix) -> np.ndarray:
    basis = prepare_basis(factors, regularization=RULES.regularization)
    confidences = (weights * RULES.alpha).tocsr()
    return np.asarray(fold_in_users(basis, confidences.indptr, confidences.indices, confidences.data))


def test_fit_item_factors_gives_factors_that_fold_in_tells_tastes_apart_by(trainer: SparkSession) -> None:
    weights = tastes()

    factors = fit_by_settings(weights, RULES)

    assert factors.shape == (20, 4)
    assert factors.dtype == np.float32
    assert not factors[-1].any()
    scores = (fold_in(factors, weights) @ factors.T)[:, :19]
    own = (np.arange(60)[:, None] % 2) == (np.arange(19)[None, :] % 2)
    liked, foreign = (np.nanmean(np.where(side, scores, np.nan), axis=1) for side in (own, ~own))
    assert liked.min() > 4 * np.abs(foreign).max()


def test_fit_item_factors_solves_the_equations_of_the_confidences_that_settings_mean(trainer: SparkSession) -> None:
    """One item, one factor: Spark's last item step is b / (A + lambda n), with confidence alpha * weight for each person."""
    weights = csr_matrix(np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0]], np.float32))
    one = RULES.model_copy(update={"rank": 1, "iterations": 1, "seed": 7})
    twice = one.model_copy(update={"iterations": 2})

    first, second = fit_item_factors(weights, one), fit_item_factors(weights, twice)

    expected = sweep(first, weights, one)
    np.testing.assert_allclose(second, expected, rtol=1e-3)


def sweep(items: np.ndarray, weights: csr_matrix, rules: ModelSettings) -> np.ndarray:
    """Return the item factors after one more sweep of Spark's: people first, then items, lambda times interactions."""
    scaled = rules.regularization * weights.shape[0] / weights.nnz

    def solve(fixed: np.ndarray, rows: np.ndarray) -> np.ndarray:
        found = []
        for row in rows:
            seen = row > 0
            confidence = rules.alpha * row[seen]
            matrix = (fixed**2).sum() + ((confidence - 1) * fixed[seen, 0] ** 2).sum() + scaled * seen.sum()
            found.append([(confidence * fixed[seen, 0]).sum() / matrix])
        return np.array(found)

    people = solve(items.astype(float), weights.toarray())
    return solve(people, weights.toarray().T)


def test_fit_item_factors_survives_many_sweeps(trainer: SparkSession) -> None:
    """Without cutting the lineage this ends in a StackOverflowError."""
    many = RULES.model_copy(update={"iterations": 60})

    assert np.isfinite(fit_item_factors(tastes(), many)).all()


def test_fit_item_factors_says_what_to_do_where_no_spark_runs() -> None:
    """In a process of its own: here a session may run already."""
    code = (
        "from scipy.sparse import csr_matrix\n"
        "from afterclick.errors import ModelError\n"
        "from afterclick.mllib_training import fit_item_factors\n"
        "try:\n fit_item_factors(csr_matrix([[1.0]]), None)\n"
        "except ModelError as error:\n print(error)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603

    assert "no Spark session: train with the job train_model" in done.stdout
