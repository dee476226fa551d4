"""Training: fold-in gives back every training user's vector, and row order does not matter."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from afterclick.errors import ModelError
from afterclick.fold_in import fold_in_users, prepare_basis
from afterclick.setting_sections import ModelSettings
from afterclick.training import Training, as_matrix, train

WEIGHTS = {"purchase": 1.0}


def model_settings(**overrides: object) -> ModelSettings:
    return ModelSettings.model_validate({"tracking_uri": "sqlite://", "artifact_root": "none"} | overrides)


def interactions(count: int, seed: int = 0) -> pa.Table:
    draw = np.random.default_rng(seed)
    cells = draw.choice(40 * 30, count, replace=False)
    return pa.table(
        {
            "subject_id": [f"u{cell // 30}" for cell in cells],
            "item_id": [f"i{cell % 30}" for cell in cells],
            "weight": draw.integers(1, 9, count).astype(float),
        }
    )


def trained(table: pa.Table, **overrides: object) -> Training:
    return train(table, model_settings(**overrides), version="v", trained_at="now", event_weights=WEIGHTS)


def test_train_gives_the_same_model_when_rows_come_in_another_order() -> None:
    table = interactions(300)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(300)))

    one, other = trained(table, rank=8), trained(shuffled, rank=8)

    assert one.model.item_ids.tolist() == other.model.item_ids.tolist()
    np.testing.assert_allclose(one.model.item_factors, other.model.item_factors, rtol=1e-4, atol=1e-6)


def test_train_numbers_people_and_items_alike_when_rows_come_in_many_chunks() -> None:
    table = interactions(300)
    pieces = pa.concat_tables([table.slice(begin, 40) for begin in range(0, 300, 40)])

    whole, many = as_matrix(table), as_matrix(pieces)

    assert pieces["item_id"].num_chunks == 8
    assert many[1].tolist() == whole[1].tolist() == sorted(set(table["item_id"].to_pylist()))
    np.testing.assert_array_equal(many[0].toarray(), whole[0].toarray())
    rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
    subjects = sorted(set(table["subject_id"].to_pylist()))
    cells = {(subjects[u], str(many[1][i])): many[0][u, i] for u, i in zip(*many[0].nonzero(), strict=True)}
    assert cells == {(subject, item): weight for subject, item, weight in rows}


def test_train_refuses_when_there_is_nothing() -> None:
    with pytest.raises(ModelError, match="nothing to train on"):
        trained(interactions(1).slice(0, 0))


def test_train_counts_popularity_by_weight() -> None:
    table = interactions(200)

    popularity = trained(table, rank=4).model.popularity

    assert popularity.sum() == pytest.approx(pc.sum(table["weight"]).as_py())


@pytest.fixture(scope="module")
def online_retail(shared_data: Path) -> Training:
    """Train on cleaned purchases as in shared/data/README.md: 3,970 users, 3,607 items."""
    lines = pq.read_table(shared_data / "online_retail" / "lines_before_2011-11.parquet").to_pandas()
    is_kept = (
        lines["CustomerID"].fillna("").ne("")
        & ~lines["InvoiceNo"].str.startswith("C")
        & (lines["Quantity"] > 0)
        & (lines["UnitPrice"] > 0)
        & lines["StockCode"].str.match(r"\d{5}")
    )
    kept = lines[is_kept].drop_duplicates(["InvoiceNo", "StockCode"])
    assert (len(kept), kept["CustomerID"].nunique(), kept["StockCode"].nunique()) == (308_059, 3_970, 3_607)
    counted = kept.groupby(["CustomerID", "StockCode"]).size().astype(float).reset_index(name="weight")
    table = pa.table(
        {"subject_id": counted["CustomerID"], "item_id": counted["StockCode"], "weight": counted["weight"]}
    )
    return trained(table, rank=64, regularization=10.0, alpha=1.0, iterations=15)


def test_fold_in_of_every_training_user_gives_the_trained_vector(online_retail: Training) -> None:
    """The trained vector solves the trainer's own equations against the final item factors (implicit)."""
    model, weights = online_retail.model, online_retail.weights
    with threadpool_limits(1, "blas"):
        als = AlternatingLeastSquares(factors=64, regularization=10.0, alpha=1.0, use_cg=False)
        als.item_factors = model.item_factors
        theirs = als.recalculate_user(np.arange(weights.shape[0]), weights)

    basis = prepare_basis(model.item_factors, regularization=model.regularization)
    ours = fold_in_users(
        basis, weights.indptr.astype(np.int64), weights.indices.astype(np.int64), weights.data * model.alpha
    )

    difference = np.linalg.norm(ours - theirs, axis=1) / np.linalg.norm(theirs, axis=1)
    assert difference.max() < 1e-4
