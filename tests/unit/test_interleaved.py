"""Benchmarks of rules, small: what is compared does the same work, and a slower baseline gives a ratio above one."""

import time

import numpy as np

from afterclick.benchmarks import fold_in, rank, retrain
from afterclick.benchmarks.interleaved import compare
from afterclick.benchmarks.shoppers import purchases
from afterclick.settings import Settings


def test_compare_says_how_many_times_faster_the_measured_way_is() -> None:
    figures = compare(lambda: time.sleep(0.001), lambda: time.sleep(0.02), runs=3)

    assert figures["ratio"] > 1
    assert figures["runs"] == 3


def test_purchases_keeps_the_last_products_of_each_household() -> None:
    histories = purchases(most=5)

    assert np.diff(histories.indptr).max() == 5
    assert histories.data.min() >= 1


def test_fold_in_benchmark_compares_equal_vectors() -> None:
    figures = fold_in.measure(announce=lambda _: None, ranks=(8,), most=20, runs=1)

    assert figures["difference"] < 1e-6
    assert figures["by_rank"].keys() == {8}


def test_rank_benchmark_measures_each_catalogue_against_each_baseline() -> None:
    figures = rank.measure(announce=lambda _: None, catalogues=(500,), runs=1)

    for kind in ("by_items", "long_tail_by_items"):
        assert figures[kind][500].keys() == {"numpy", "implicit", "implicit_recommend"}


def test_retrain_benchmark_trains_on_all_purchases(settings: Settings) -> None:
    quick = settings.model.model_copy(update={"rank": 4, "iterations": 1})

    assert retrain.measure(quick, announce=lambda _: None, runs=1)["interactions"] > 100_000
