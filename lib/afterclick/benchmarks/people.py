"""People with histories and lists in Redis, and a model for them: what benchmarks of the store and the API need."""

import time
from collections.abc import Sequence

import numpy as np

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence, ListUpdate, StoredHistory
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.histories import EVENT_TYPE_CODES, RECORD
from afterclick.list_records import REASONS, TopList
from afterclick.models import Model, save_model
from afterclick.places import ListedItem
from afterclick.pseudonyms import RawId
from afterclick.served_model import model_folder
from afterclick.settings import Settings

VERSION, LISTED, ITEMS, RANK = "bench", 50, 4_000, 64
_PIPELINE = 1_000


def write_people(settings: Settings, people: int, *, interactions: int = 30) -> list[str]:
    """Store ``person-0`` to ``person-<people - 1>``, who allow everything, with a history and both lists.

    Returns
    -------
    list of str
        Their subject ids.
    """
    names = [RawId("user", f"person-{number}") for number in range(people)]
    consent = {"analytics": True, "personalisation": True}
    admitted = open_subject_store(settings).admit([Claim(name, consent, 1) for name in names])
    subjects = [person.subject_id for person in admitted if person]
    model = serve_model(settings)
    store, draw, now_ms = redis_store.connect(settings.redis), np.random.default_rng(1), int(time.time() * 1000)
    for begin in range(0, people, _PIPELINE):
        some = subjects[begin : begin + _PIPELINE]
        store.write_lists([_update(subject, model, draw, now_ms, interactions) for subject in some])
    return subjects


def serve_model(settings: Settings, *, item_ids: Sequence[str] | None = None) -> Model:
    """Save a model with random factors and point to it, with a popular list; None: `ITEMS` items."""
    draw = np.random.default_rng(1)
    names = item_ids or [f"item-{number:06d}" for number in range(ITEMS)]
    model = Model(
        version=VERSION,
        item_ids=np.array(names),
        item_factors=(draw.normal(size=(len(names), RANK)) / 8).astype(np.float32),
        popularity=np.arange(len(names), 0, -1, dtype=np.float64),
        regularization=1.0,
        alpha=1.0,
        event_weights=dict(settings.recommendations.event_weights),
        trained_at="2026-11-24T12:00:00.000+00:00",
    )
    save_model(model, model_folder(settings, VERSION))
    store = redis_store.connect(settings.redis)
    store.write_popular(_top(model.item_ids.tolist(), draw, int(time.time() * 1000)))
    store.write_items(VERSION, model.item_ids.tolist())
    store.switch_version(VERSION)
    return model


def _update(subject: str, model: Model, draw: np.random.Generator, now_ms: int, interactions: int) -> ListUpdate:
    records = np.zeros(interactions, RECORD)
    records["item_key"] = draw.choice(model.item_keys, interactions, replace=False)
    records["event_ms"] = now_ms - np.arange(interactions, 0, -1) * 60_000
    records["event_type"] = draw.choice(sorted(EVENT_TYPE_CODES.values()), interactions)
    history = StoredHistory(records, fresh_as_of_ms=now_ms)
    return ListUpdate(subject, history, _top(model.item_ids.tolist(), draw, now_ms), Fence(1, 1))


def _top(item_ids: Sequence[str], draw: np.random.Generator, now_ms: int) -> TopList:
    """Return a list and one for the next visit, as long as the streams write them."""
    items = [draw.choice(len(item_ids), LISTED, replace=False) for _ in range(2)]
    both = [
        [
            ListedItem(item_ids[item], 1 / (place + 1), REASONS[reason])
            for place, (item, reason) in enumerate(zip(chosen.tolist(), reasons.tolist(), strict=True))
        ]
        for chosen, reasons in zip(items, draw.integers(len(REASONS), size=(2, LISTED)), strict=True)
    ]
    return TopList(VERSION, "fold_in", now_ms, now_ms + 200, both[0], later=both[1], later_after_ms=now_ms + 3_600_000)
