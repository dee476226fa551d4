"""Late, repeated and reused: the rules against a plain reading of one message after the other."""

import random

import numpy as np
import pytest

from afterclick.fate_rules import NEVER, find_repeats, is_among_others, met_watermarks

DELAY_US = 600


@pytest.mark.parametrize("seed", range(20))
def test_met_watermarks_is_the_newest_valid_event_before_in_the_partition(seed: int) -> None:
    draw = random.Random(seed)
    before = [draw.choice([NEVER, draw.randrange(2_000)]) for _ in range(4)]
    partitions = sorted(draw.choice([0, 1, 3]) for _ in range(60))
    event_us, is_valid = [draw.randrange(3_000) for _ in range(60)], [draw.random() < 0.8 for _ in range(60)]
    newest, expected = dict(enumerate(before)), []
    for partition, at, valid in zip(partitions, event_us, is_valid, strict=True):
        expected.append(newest[partition] if newest[partition] == NEVER else newest[partition] - DELAY_US)
        newest[partition] = max(newest[partition], at if valid else NEVER)

    met = met_watermarks(np.array(partitions), np.array(event_us), np.array(is_valid), before, delay_us=DELAY_US)

    assert met.tolist() == expected


def test_met_watermarks_when_there_is_no_message() -> None:
    nothing = np.array([], np.int64)

    assert met_watermarks(nothing, nothing, nothing.astype(np.bool_), [], delay_us=1).tolist() == []


def test_is_among_others_finds_every_one_of_equal_values() -> None:
    assert is_among_others(np.array([5, 3, 5, 1, 3, 5])).tolist() == [True, True, True, False, True, True]
    assert is_among_others(np.array([], np.int64)).tolist() == []


@pytest.mark.parametrize("seed", range(50))
def test_find_repeats_is_what_reading_one_after_the_other_finds(seed: int) -> None:
    draw = random.Random(seed)
    stored = {(draw.randrange(6), draw.randrange(4)) for _ in range(draw.randrange(5))}
    batch = [(draw.randrange(6), draw.randrange(3)) for _ in range(draw.randrange(12))]
    said = set(batch)
    met = sorted({(event_id, payload if (event_id, payload) in said else -1) for event_id, payload in stored})
    seen, first = set(stored), dict.fromkeys((event_id for event_id, _ in stored), -1)
    expected = []
    for event_id, payload in batch:
        expected.append(((event_id, payload) in seen, first.setdefault(event_id, payload) != payload))
        seen.add((event_id, payload))

    columns = [np.array([row[place] for row in rows], np.int64) for rows in (batch, met) for place in (0, 1)]
    is_repeated, is_id_reused = find_repeats(*columns)

    assert list(zip(is_repeated.tolist(), is_id_reused.tolist(), strict=True)) == expected
