"""A shop with a long tail, simulated: a few products are bought by many people, most by hardly anybody. numpy only.

Products belong to topics, and people have a few of these. Topics and the products of each are bought by Zipf's law, the
k-th one k times as seldom as the first (Zipf, "Human Behavior and the Principle of Least Effort", 1949).
"""

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

_OF_A_TOPIC, _TOPICS, _OWN = 400, 3, 0.7
"""Products of a topic, topics of a person, and the share of purchases from these."""
_PURCHASES = 20
"""Of a person, on average."""


def simulated_purchases(items: int, people: int, *, seed: int = 1) -> csr_matrix:
    """Return people × items with the number of purchases, float32."""
    draw = np.random.default_rng(seed)
    topics = max(_TOPICS, items // _OF_A_TOPIC)
    buyers = np.repeat(np.arange(people), draw.geometric(1 / _PURCHASES, people))
    liked = _by_zipf(draw, topics, (people, _TOPICS))
    topic = np.where(
        draw.random(len(buyers)) < _OWN,
        liked[buyers, draw.integers(0, _TOPICS, len(buyers))],
        _by_zipf(draw, topics, len(buyers)),
    )
    bought = np.minimum(_by_zipf(draw, -(-items // topics), len(buyers)) * topics + topic, items - 1)
    return csr_matrix((np.ones(len(buyers), np.float32), (buyers, bought)), shape=(people, items))


def _by_zipf(draw: np.random.Generator, count: int, shape: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return numbers below `count`, number k as often as 1 / (k + 1) says."""
    until = np.cumsum(1 / np.arange(1, count + 1))
    return np.searchsorted(until, draw.random(shape) * until[-1], side="right").astype(np.int64)
