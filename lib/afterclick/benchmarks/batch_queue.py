"""The fast path as a queue whose server takes all that waits at once: how long an event waits for its list.

Pure numpy: no clock, no I/O. A client posts, the collector hands on, the event waits for the end of the micro-batch that runs,
then for that of its own, and is seen a little before or after it. Batches run back to back; how long one takes follows
from how many events came during the one before (a bulk-service queue: Bailey 1954, "On queueing processes with bulk service";
Whitt 2002 for the fluid limit). Times in seconds, rates in events a second.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

FloatVector = npt.NDArray[np.float64]
_BLOCK = 20
"""Neighbouring batches drawn together, so that slow times stay together (moving-block bootstrap, Künsch 1989)."""
SATURATED = 60.0
"""A batch of so many seconds: the queue does not come back, and the simulation ends."""


@dataclass(frozen=True)
class BatchQueue:
    """What one event meets on its way.

    Parameters
    ----------
    fixed, per_event
        Seconds of a batch whatever is in it, and for each event in it.
    spread : shape (n,)
        Measured duration of neighbouring batches over what `fixed` and `per_event` say; 1 = as expected.
    before : shape (n,)
        Seconds from the client's post to the broker.
    after : shape (n,)
        Seconds from the end of a batch to the answer that shows its list; below 0 where it was seen before.
    """

    fixed: float
    per_event: float
    spread: FloatVector
    before: FloatVector
    after: FloatVector

    def slowed(self, factor: float) -> "BatchQueue":
        """Return the queue whose batches take `factor` times as long."""
        return replace(self, fixed=self.fixed * factor, per_event=self.per_event * factor)

    @property
    def capacity(self) -> float:
        """Return the events a second above which batches grow for ever: one event's time is the server's."""
        return math.inf if self.per_event <= 0 else 1 / (self.per_event * float(self.spread.mean()))

    def steady_batch(self, rate: float) -> float:
        """Return the length of a batch in the fluid limit, ``d = fixed + per_event * rate * d``.

        Notes
        -----
        Without spread and with arrivals that flow steadily the wait is uniform over one batch and the service is one more: the
        mean time in the system is ``1.5 d``, percentile q is ``d (1 + q)``.
        """
        load = rate / self.capacity
        return math.inf if load >= 1 else self.fixed * float(self.spread.mean()) / (1 - load)


@dataclass(frozen=True)
class Passage:
    """What a simulation saw: when each post was sent, reached the broker and was seen, in order of arrival; and batches."""

    posted: FloatVector
    arrived: FloatVector
    seen: FloatVector
    starts: FloatVector
    lengths: FloatVector
    events: FloatVector

    @property
    def seconds(self) -> FloatVector:
        """Return how long each post took."""
        return self.seen - self.posted


def simulate(queue: BatchQueue, rate: float, *, seconds: float, seed: int, post: int = 10) -> Passage:
    """Pass posts of `post` events through the queue, one after the other at even distances.

    Parameters
    ----------
    rate
        Events a second.

    Returns
    -------
    Passage
        Of the posts that were taken; a queue that is `SATURATED` ends early.
    """
    draw = np.random.default_rng(seed)
    posted = np.arange(0.0, seconds, post / rate)
    before = draw.choice(queue.before, len(posted))
    arrived = posted + before
    order = np.argsort(arrived, kind="stable")
    taken, starts, lengths = _serve(queue, arrived[order], post, _Factors(queue.spread, draw))
    batch_of = np.repeat(np.arange(len(taken)), taken)
    served = order[: len(batch_of)]
    seen = (starts + lengths)[batch_of] + draw.choice(queue.after, len(batch_of))
    # Nothing is seen before its batch has begun, however long before the end of others that was.
    seen = np.maximum(seen, starts[batch_of])
    return Passage(posted[served], arrived[served], seen, starts, lengths, taken.astype(np.float64) * post)


def _serve(
    queue: BatchQueue, arrived: FloatVector, post: int, factors: "_Factors"
) -> tuple[npt.NDArray[np.int64], FloatVector, FloatVector]:
    """Return how many posts each batch takes, when it starts and how long it takes."""
    taken: list[int] = []
    starts: list[float] = []
    lengths: list[float] = []
    done, free_at = 0, 0.0
    while done < len(arrived):
        start = max(free_at, float(arrived[done]))
        waiting = int(np.searchsorted(arrived, start, side="right")) - done
        length = (queue.fixed + queue.per_event * waiting * post) * factors.next()
        taken.append(waiting)
        starts.append(start)
        lengths.append(length)
        done, free_at = done + waiting, start + length
        if length > SATURATED:
            break
    return np.array(taken, np.int64), np.array(starts), np.array(lengths)


class _Factors:
    """Draws the spread of batches, neighbours together."""

    def __init__(self, spread: FloatVector, draw: np.random.Generator) -> None:
        self._spread, self._draw = spread, draw
        self._left: list[float] = []

    def next(self) -> float:
        """Return the next batch's factor."""
        if not self._left:
            begin = int(self._draw.integers(len(self._spread)))
            self._left = np.take(self._spread, np.arange(begin, begin + _BLOCK), mode="wrap")[::-1].tolist()
        return self._left.pop()


def probed(passage: Passage, *, share: float, seed: int) -> FloatVector:
    """Return the seconds of the posts a probe would measure: `share` of them at random, one at a time, as benches do.

    While it waits for one it measures no other, so slow times have fewer samples than their share of the posts.
    """
    draw = np.random.default_rng(seed)
    order = np.argsort(passage.posted, kind="stable")
    chosen, free_at = [], -math.inf
    for number in order[draw.random(len(order)) < share].tolist():
        if passage.posted[number] >= free_at:
            chosen.append(number)
            free_at = float(passage.seen[number])
    return passage.seconds[np.array(chosen, np.int64)]


def slowdown(busy: float, cores: int) -> float:
    """Return how many times longer work takes beside others who want `busy` of `cores` cores.

    Notes
    -----
    Mean sojourn over service time of an M/M/c queue under processor sharing: ``1 + C / (c (1 - rho))`` with Erlang's C
    (Kleinrock 1975, *Queueing Systems* 1, section 3.5): 1 / (1 - rho) on one core, 1 / (1 - rho²) on two.
    """
    load = busy / cores
    if load >= 1:
        return math.inf
    terms = [busy**k / math.factorial(k) for k in range(cores)]
    last = busy**cores / math.factorial(cores) / (1 - load)
    return 1 + last / (sum(terms) + last) / (cores * (1 - load))
