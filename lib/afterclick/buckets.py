"""Stable buckets for comparisons side by side: the same person is always in the same one. Pure."""

import hashlib
from collections.abc import Mapping


def bucket_of(unit: str, shares: Mapping[str, float], *, salt: str) -> str | None:
    """Return the bucket of a person (or of whatever `unit` names); None where there are no buckets.

    Parameters
    ----------
    shares
        Size of each bucket by name, in this order; only their ratios count.
    salt
        Another one deals everybody anew, independently of before.

    Notes
    -----
    The hash is a point of [0, 1); the buckets are intervals of it in the order given. So growing the last bucket at
    the cost of the one before it moves only people between these two.
    """
    total = sum(shares.values())
    if total <= 0:
        return None
    digest = hashlib.blake2b(f"{salt}:{unit}".encode(), digest_size=8).digest()
    point = int.from_bytes(digest, "little") / 2**64 * total
    end = 0.0
    for name, share in shares.items():
        end += share
        if point < end:
            return name
    return next(name for name, share in reversed(list(shares.items())) if share > 0)
