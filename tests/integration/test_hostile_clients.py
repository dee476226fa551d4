"""Hostile clients against a real collector and broker: right answers, bounded memory, everyone else served."""

import statistics
from collections.abc import Callable, Iterator
from functools import partial

import pytest

import hostile
from afterclick.settings import Settings
from collector_process import HttpService
from nightly import NIGHTLY

BOUNDS = {
    "AFTERCLICK_COLLECTOR__HEADER_TIMEOUT_SECONDS": "2",
    "AFTERCLICK_COLLECTOR__BODY_TIMEOUT_SECONDS": "3",
}
ROUNDS, SECONDS = 3, 8.0

pytestmark = [NIGHTLY, pytest.mark.timeout(300)]


@pytest.fixture
def collector(live: Settings) -> Iterator[HttpService]:
    running = HttpService(live, BOUNDS)
    hostile.measure_p99(running.port, 3)  # warm-up
    yield running
    running.stop()


ATTACKS: dict[str, tuple[Callable[[int], int | None], int, int]] = {
    "gzip_bomb": (hostile.send_bomb, 2, 413),
    "body_of_1000_batches": (partial(hostile.send_declared, size=512_000_000), 1, 413),
    "chunked_body_of_1000_events": (partial(hostile.send_chunked, size=32_768_000), 2, 413),
    "depth_10_000": (partial(hostile.send_deep, depth=10_000), 2, 400),
    "slow_head": (partial(hostile.hold_slowly, seconds=8), 100, 408),
    "slow_body": (partial(hostile.hold_body_slowly, seconds=8), 100, 408),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_costs_neither_memory_nor_others(name: str, collector: HttpService) -> None:
    once, clients, status = ATTACKS[name]
    attack = hostile.Attack(collector.port, once, clients=clients)
    memory = hostile.MemoryWatch(collector.pid)
    ratios = []
    for _ in range(ROUNDS):  # in turns: the machine is not the same from minute to minute
        quiet = hostile.measure_p99(collector.port, SECONDS)
        with memory.watching(), attack.running():
            attacked = hostile.measure_p99(collector.port, SECONDS)
        ratios.append(attacked / quiet)
        print(f"{name}: p99 {quiet:.1f} -> {attacked:.1f} ms, {len(attack.statuses)} answers")  # noqa: T201

    print(f"{name}: {memory.growth_mb:.1f} MB, p99 x {statistics.median(ratios):.2f}")  # noqa: T201
    assert set(attack.statuses) == {status}
    assert memory.growth_mb <= 64
    assert statistics.median(ratios) <= 2
