"""Bytes of Redis a person: history and both lists, as the streams store them."""

from collections.abc import Callable
from typing import Any

from afterclick.benchmarks.people import VERSION, write_people
from afterclick.connectors import redis_store
from afterclick.settings import Settings

REACH_BYTES = 0.8 * 2**30 / 1e6


def measure(settings: Settings, *, announce: Callable[[str], None], quick: bool = False) -> dict[str, Any]:
    """Return bytes a person by Redis' own account; `ratio` is the goal (0.8 GiB a million people) over it."""
    people = 1_000 if quick else 20_000
    client = redis_store.connect(settings.redis).client
    announce(f"writing {people:,} people with histories of 30 and lists of 50")
    before = _used(client)
    subjects = write_people(settings, people)
    per_person = (_used(client) - before) / people
    store = settings.redis.prefix
    parts = {
        "history": client.memory_usage(redis_store.history_key(store, subjects[0])),
        "lists": client.memory_usage(redis_store.list_key(store, VERSION, subjects[0])),
    }
    return {
        "measured": round(per_person),
        "baseline": round(REACH_BYTES),
        "ratio": round(REACH_BYTES / per_person, 3),
        "runs": 1,
        "people": people,
        "bytes_of_one": parts,
        "gib_a_million": round(per_person * 1e6 / 2**30, 2),
    }


def _used(client: Any) -> int:
    return int(client.info("memory")["used_memory"])
