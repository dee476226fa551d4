"""Buckets: stable, of the sizes told, independent of each other's salt."""

from collections import Counter

import pytest

from afterclick.buckets import bucket_of

PEOPLE = [f"user:{number}" for number in range(20_000)]


def test_everybody_stays_in_their_bucket_and_the_sizes_are_those_told() -> None:
    shares = {"control": 3.0, "treated": 1.0}

    dealt = [bucket_of(person, shares, salt="1") for person in PEOPLE]

    assert dealt == [bucket_of(person, shares, salt="1") for person in PEOPLE]
    assert Counter(dealt)["treated"] / len(PEOPLE) == pytest.approx(0.25, abs=0.015)


def test_the_assignment_is_the_same_in_every_version() -> None:
    assert [bucket_of(person, {"a": 1, "b": 1}, salt="1") for person in PEOPLE[:8]] == list("bbaabbba")


def test_another_salt_deals_independently() -> None:
    pairs = Counter(
        (bucket_of(p, {"a": 1, "b": 1}, salt="1"), bucket_of(p, {"a": 1, "b": 1}, salt="2")) for p in PEOPLE
    )

    assert [pairs[one, other] / len(PEOPLE) for one in "ab" for other in "ab"] == pytest.approx([0.25] * 4, abs=0.02)


def test_growing_the_last_bucket_moves_people_into_it_only() -> None:
    before = {person: bucket_of(person, {"a": 9, "b": 1}, salt="1") for person in PEOPLE}
    after = {person: bucket_of(person, {"a": 8, "b": 2}, salt="1") for person in PEOPLE}

    assert {(before[person], after[person]) for person in PEOPLE} == {("a", "a"), ("a", "b"), ("b", "b")}


def test_without_buckets_nobody_has_one() -> None:
    assert bucket_of("user:ada", {}, salt="1") is None
