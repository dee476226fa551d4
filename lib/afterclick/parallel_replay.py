"""A prequential run on several processes: each takes a stretch of days and catches up with what was before it."""

import multiprocessing
import queue
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, wait
from itertools import pairwise
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from afterclick.mixtures import Mixtures
from afterclick.prequential import Ranks, Replay, join_ranks, replay_ranks


def replay_parallel(
    replay: Replay, days: list[tuple[int, int]], mixtures: Mixtures, *, workers: int, tick: Callable[[int], Any]
) -> Ranks:
    """Return `prequential.replay_ranks` of all days, computed by up to `workers` processes.

    Notes
    -----
    The first model of each stretch is trained from its start, later ones go on from the night before.
    """
    stretches = cut_days(days, workers)
    if len(stretches) == 1:
        return replay_ranks(replay, days, mixtures, tick)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager, ProcessPoolExecutor(len(stretches), context) as pool:
        done: Any = manager.Queue()
        running = [pool.submit(_run, replay, stretch, mixtures, done) for stretch in stretches]
        while wait(running, timeout=0.2).not_done:
            _drain(done, tick)
        _drain(done, tick)
        return join_ranks([future.result() for future in running])


def cut_days(days: list[tuple[int, int]], parts: int) -> list[list[tuple[int, int]]]:
    """Cut days into up to `parts` stretches of about equally many events."""
    ends = np.cumsum([end - begin for begin, end in days])
    wanted = ends[-1] * np.arange(1, parts) / parts
    cuts = [0, *(np.searchsorted(ends, wanted) + 1).tolist(), len(days)]
    stretches = [days[begin:end] for begin, end in pairwise(cuts)]
    return [stretch for stretch in stretches if stretch]


def _run(replay: Replay, days: list[tuple[int, int]], mixtures: Mixtures, done: Any) -> Ranks:
    with threadpool_limits(1, "blas"):
        return replay_ranks(replay, days, mixtures, done.put)


def _drain(done: Any, tick: Callable[[int], Any]) -> None:
    while True:
        try:
            tick(done.get_nowait())
        except queue.Empty:
            return
