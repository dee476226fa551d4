"""Hostile clients against a real collector and broker: right answers, bounded memory, everyone else served."""

import os
from collections.abc import Callable, Iterator

import pytest

import hostile
from afterclick.settings import Settings
from collector_process import HttpService

BOUNDS = {
    "AFTERCLICK_COLLECTOR__HEADER_TIMEOUT_SECONDS": "2",
    "AFTERCLICK_COLLECTOR__BODY_TIMEOUT_SECONDS": "3",
}
LEAST_P99_MS = (
    150.0  # below this a shared machine's noise decides; attackers and client use the same cores as the collector
)

NIGHTLY = pytest.mark.skipif(
    os.environ.get("AFTERCLICK_NIGHTLY") != "1",  # noqa: TID251
    reason="takes minutes and wants the machine for itself: `make nightly` runs it",
)
pytestmark = [NIGHTLY, pytest.mark.timeout(300)]


@pytest.fixture
def collector(live: Settings) -> Iterator[HttpService]:
    running = HttpService(live, BOUNDS)
    hostile.measure_p99(running.port, 3)  # warm-up
    yield running
    running.stop()


ATTACKS: dict[str, tuple[Callable[[], Callable[[int], int | None]], int, int]] = {
    "gzip_bomb": (lambda: hostile.send_packed(hostile.gzip_bomb()), 2, 413),
    "body_of_1000_batches": (lambda: hostile.send_declared(512_000_000), 1, 413),
    "chunked_body_of_1000_events": (lambda: hostile.send_chunked(32_768_000), 2, 413),
    "depth_10_000": (lambda: hostile.send_deep(10_000), 2, 400),
    "slow_head": (lambda: hostile.hold_slowly(8), 100, 408),
    "slow_body": (lambda: hostile.hold_body_slowly(8), 100, 408),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_attack_costs_neither_memory_nor_others(name: str, collector: HttpService) -> None:
    make, clients, status = ATTACKS[name]
    attack = hostile.Attack(collector.port, make(), clients=clients)
    memory = hostile.MemoryWatch(collector.pid)
    quiet = hostile.measure_p99(collector.port, 3)

    with memory.watching(), attack.running():
        attacked = hostile.measure_p99(collector.port, 4)

    print(f"{name}: {memory.growth_mb:.1f} MB, p99 {quiet:.0f} -> {attacked:.0f} ms, {len(attack.statuses)} answers")  # noqa: T201
    assert set(attack.statuses) == {status}
    assert memory.growth_mb <= 64
    assert attacked <= max(2 * quiet, LEAST_P99_MS)
