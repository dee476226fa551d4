"""When a visit is over, and what is kept of the two mixtures."""

from dataclasses import replace

import numpy as np

from afterclick.blend import default_blend
from afterclick.mixtures import Mixture, Mixtures, is_back
from afterclick.source_rules import SourceRules

ONE = Mixture(default_blend(), SourceRules())


def test_is_back_begins_one_ms_after_the_gap() -> None:
    last = np.array([1000, 1001, 0])

    assert is_back(last, 1100, gap_ms=100).tolist() == [False, False, True]
    assert is_back(last, np.array([1101, 1101, 100]), gap_ms=100).tolist() == [True, False, False]


def test_mixtures_differ_by_weights_or_rules_not_by_being_two_objects() -> None:
    again = Mixture.from_dict(ONE.to_dict())

    assert not Mixtures(ONE, ONE).differ
    assert not Mixtures(ONE, again).differ
    assert Mixtures(ONE, replace(again, rules=SourceRules(interest_half_life=7.0))).differ


def test_a_mixture_of_an_earlier_version_is_read_without_what_was_added_since() -> None:
    described = ONE.to_dict()
    del described["rules"]["repeat_trend_power"]
    del described["blend"]["long"]

    found = Mixture.from_dict(described)

    assert found.rules == ONE.rules
    assert found.to_dict()["blend"]["long"] == described["blend"]["regular"]
