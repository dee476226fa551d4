"""A switch beside running streams and clients: nobody's event is missed, nothing is mixed, and back again."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence, RedisStore, items_key, list_key
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.version_pointer import VersionPointer, Versions
from afterclick.consent_rules import Claim
from afterclick.errors import ModelNotFoundError, StoreUnavailableError, VersionMovedError
from afterclick.fold_in import solve_user_factor
from afterclick.list_records import TopList
from afterclick.list_updates import update_here
from afterclick.local import services
from afterclick.local.processes import free_port
from afterclick.models import Model, save_model
from afterclick.places import LEVELS
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from afterclick.switching import catch_up, go_back, take_over
from builders import make_model, places

logger = logging.getLogger(__name__)
COMMON = [f"item-{number}" for number in range(20)]
KINDS = ("view", "cart", "purchase")


def model_of(version: str) -> Model:
    """Twenty items that every version has, and twenty that only this one has and that are more popular."""
    ids = np.array([*COMMON, *(f"{version}-{number}" for number in range(20))])
    return make_model(items=40, version=version, item_ids=ids, popularity=np.arange(1.0, 41.0), seed=ord(version[-1]))


@pytest.fixture
def store(live: Settings) -> RedisStore:
    """Open a store that serves v1; v2 and v3 lie ready as files."""
    for version in ("v1", "v2", "v3"):
        save_model(model_of(version), model_folder(live, version))
    opened = redis_store.connect(live.redis)
    opened.write_popular(read_recommender(live, "v1").popular(1))
    opened.switch_version("v1")
    return opened


def acts(live: Settings, person: str, item: str, at_ms: int, batch: int = 0) -> None:
    """Let the stream write one batch with one interaction."""
    update_here(rows(person, item, at_ms), settings=live, fence=Fence(1, batch))


def rows(person: str, item: str, at_ms: int) -> pa.Table:
    columns = {"subject_id": [person], "item_id": [item], "event_type": ["view"]}
    return pa.table({**columns, "event_ms": [at_ms], "received_ms": [at_ms]})


def warm(live: Settings, version: str, *people: tuple[str, str, int]) -> None:
    opened = redis_store.connect(live.redis)
    VersionPointer(opened).announce(version)
    opened.write_items(version, read_recommender(live, version).item_ids, expires=True)
    for person in people:
        update_here(rows(*person), settings=live, version=version)


def serve(live: Settings, store: RedisStore, version: str) -> int:
    return take_over(store, read_recommender(live, version), live)


def known(live: Settings, store: RedisStore, person: str) -> tuple[str, set[str]]:
    """Return the version and the past items of a person's list, which is the one that all of them make."""
    version, top = store.read_list(person)
    assert version
    assert top
    recommender, history = read_recommender(live, version), store.read_histories([person])
    assert places(top) == places(recommender.lists(history, top.generated_at_ms)[0])
    rows = recommender.model.index_of(history[0].records["item_key"])
    return version, {recommender.item_ids[row] for row in rows.tolist()}


def test_who_acts_while_the_cache_is_warmed_is_in_the_new_version_at_once(live: Settings, store: RedisStore) -> None:
    acts(live, "ada", "item-1", 10)
    warm(live, "v2", ("ada", "item-1", 10))
    acts(live, "ada", "item-2", 20, batch=1)
    acts(live, "bob", "item-3", 30, batch=1)
    assert known(live, store, "ada") == ("v1", {"item-1", "item-2"})

    assert serve(live, store, "v2") == 2

    assert known(live, store, "ada") == ("v2", {"item-1", "item-2"})
    assert known(live, store, "bob") == ("v2", {"item-3"})
    assert VersionPointer(store).versions() == Versions("v2", None, "v1")


def test_a_batch_that_was_computed_for_the_old_version_is_computed_again(live: Settings, store: RedisStore) -> None:
    acts(live, "ada", "item-1", 10)
    warm(live, "v2", ("ada", "item-1", 10))
    old = read_recommender(live, "v1")
    serve(live, store, "v2")

    with pytest.raises(VersionMovedError, match="v1 is no longer served"):
        update_lists(rows("ada", "item-2", 20), old, store, length=9, fence=Fence(1, 1), now_ms=1)
    acts(live, "ada", "item-2", 20, batch=1)

    assert known(live, store, "ada") == ("v2", {"item-1", "item-2"})


def test_the_pointer_waits_for_those_behind(live: Settings, store: RedisStore) -> None:
    warm(live, "v2")
    acts(live, "ada", "item-1", 10)

    assert VersionPointer(store).switch("v2", keep_seconds=60) == (False, None)
    assert store.served_version() == "v1"


def test_a_version_that_is_not_announced_any_more_is_refused(live: Settings, store: RedisStore) -> None:
    warm(live, "v2")
    warm(live, "v3")

    with pytest.raises(VersionMovedError, match="v3 is announced"):
        serve(live, store, "v2")
    assert store.served_version() == "v1"


def test_a_second_announcement_goes_on_and_one_after_another_begins_anew(live: Settings, store: RedisStore) -> None:
    pointer = VersionPointer(store)
    pointer.announce("v2")
    pointer.mark_warmed("v2", 3)

    pointer.announce("v2")
    assert pointer.warmed_parts("v2") == {3}

    pointer.announce("v3")
    pointer.announce("v2")
    assert pointer.warmed_parts("v2") == set()


def test_going_back_brings_what_arrived_since(live: Settings, store: RedisStore) -> None:
    acts(live, "ada", "item-1", 10)
    warm(live, "v2", ("ada", "item-1", 10))
    serve(live, store, "v2")
    acts(live, "ada", "item-2", 20, batch=1)

    left, served, lists = go_back(store, lambda version: read_recommender(live, version), live)

    assert (left, served, lists) == ("v2", "v1", 1)
    assert known(live, store, "ada") == ("v1", {"item-1", "item-2"})
    assert VersionPointer(store).versions() == Versions("v1", None, "v2")


def test_going_back_is_refused_without_a_version_before(live: Settings, store: RedisStore) -> None:
    with pytest.raises(ModelNotFoundError, match="no version to go back to"):
        go_back(store, lambda version: read_recommender(live, version), live)


def test_the_version_before_expires_and_the_one_before_that_is_deleted(live: Settings, store: RedisStore) -> None:
    acts(live, "ada", "item-1", 10)
    warm(live, "v2", ("ada", "item-1", 10))
    serve(live, store, "v2")
    prefix = live.redis.prefix
    assert store.client.exists(list_key(prefix, "v1", "ada"))
    assert 0 < store.client.ttl(f"{prefix}previous") <= live.promotion.rollback_hours * 3600
    assert store.client.ttl(items_key(prefix, "v1")) > 0
    assert store.client.ttl(items_key(prefix, "v2")) == -1

    warm(live, "v3", ("ada", "item-1", 10))
    serve(live, store, "v3")

    kept = {version: bool(store.client.exists(list_key(prefix, version, "ada"))) for version in ("v1", "v2", "v3")}
    assert kept == {"v1": False, "v2": True, "v3": True}
    assert {version: bool(store.client.exists(items_key(prefix, version))) for version in kept} == kept


def test_catch_up_leaves_a_list_alone_whose_history_changed_meanwhile(live: Settings, store: RedisStore) -> None:
    warm(live, "v2")
    acts(live, "ada", "item-1", 10)
    stale = store.read_histories(["ada"])
    acts(live, "ada", "item-2", 20, batch=1)
    recommender = read_recommender(live, "v2")

    assert VersionPointer(store).write_fresh(["ada"], stale, recommender.lists(stale, 1)) == 0
    assert catch_up(store, recommender, now_ms=1) == 1
    assert VersionPointer(store).count_behind("v2") == 0


def test_switch_under_traffic_mixes_nothing_and_changes_the_version_once(live: Settings, store: RedisStore) -> None:
    people = [f"person-{number}" for number in range(40)]
    admitted = open_subject_store(live).admit(
        [Claim(RawId("user", name), {"personalisation": True}, 1) for name in people]
    )
    names = [one.subject_id for one in admitted if one]
    stopping = threading.Event()
    batches: list[tuple[str, str]] = []

    def stream() -> None:
        draw = np.random.default_rng(1)
        while not stopping.is_set():
            person, item = names[draw.integers(len(names))], COMMON[draw.integers(len(COMMON))]
            acts(live, person, item, 1000 + len(batches), batch=len(batches))
            batches.append((person, item))
            time.sleep(0.002)

    with api(live) as port:
        writer = threading.Thread(target=stream)
        writer.start()
        answers: list[tuple[str, str, bool]] = []
        begun = time.monotonic()
        poller = threading.Thread(target=lambda: _poll(port, people, stopping, answers))
        poller.start()
        _wait_for(answers, 200)
        warm(live, "v2", *((name, "item-0", 1) for name in names))
        serve(live, store, "v2")
        _wait_for(answers, len(answers) + 200)
        stopping.set()
        writer.join()
        poller.join()

    changes = sum(one[1] != other[1] for one, other in pairwise(answers))
    logger.info("%.0f answers a second", len(answers) / (time.monotonic() - begun))
    assert [answer for answer in answers if not answer[2]] == []
    assert (answers[0][1], answers[-1][1], changes) == ("v1", "v2", 1)
    expected = read_recommender(live, "v2").lists(store.read_histories(names), 0)
    found = [store.read_list(name)[1] for name in names]
    assert [places(top) for top in found if top] == [places(top) for top in expected]


def test_a_drained_stream_s_vectors_are_the_closed_form_of_the_full_history_also_across_a_switch(
    live: Settings, store: RedisStore
) -> None:
    live = live.model_copy(update={"recommendations": live.recommendations.model_copy(update={"list_size": 40})})
    draw = np.random.default_rng(3)
    people = [f"person-{number}" for number in range(8)]
    events = [(people[draw.integers(8)], COMMON[draw.integers(20)], KINDS[draw.integers(3)], n) for n in range(120)]

    def stream(begin: int, end: int, first_batch: int) -> None:
        for batch, start in enumerate(range(begin, end, 7), first_batch):
            update_here(typed_rows(events[start : min(start + 7, end)]), settings=live, fence=Fence(1, batch))

    def warm_up(some: list[str]) -> None:
        for person in some:
            past = [event for event in events[:60] if event[0] == person]
            update_here(typed_rows(past), settings=live, version="v2")

    stream(0, 40, 0)
    stream(33, 60, 100)  # seven events again, as after a restart
    assert_closed_form(live, store, "v1", events[:60])

    VersionPointer(store).announce("v2")
    warm_up(people[:4])
    stream(60, 90, 200)  # while the cache is warmed
    warm_up(people[4:])
    serve(live, store, "v2")
    stream(90, 120, 300)

    assert_closed_form(live, store, "v2", events)


def typed_rows(events: list[tuple[str, str, str, int]]) -> pa.Table:
    subjects, items, kinds, times = zip(*events, strict=True)
    columns = {"subject_id": subjects, "item_id": items, "event_type": kinds, "event_ms": times, "received_ms": times}
    return pa.table({name: list(values) for name, values in columns.items()})


def assert_closed_form(
    live: Settings, store: RedisStore, version: str, events: list[tuple[str, str, str, int]]
) -> None:
    """Solve for the vector behind each list (a list of all items determines it) and compare; the stored list is this one."""
    model = model_of(version)
    factors = model.item_factors.astype(np.float64)
    gram = factors.T @ factors + model.regularization * np.eye(factors.shape[1])
    row_of = {str(item): row for row, item in enumerate(model.item_ids)}
    for person in {event[0] for event in events}:
        weights: Counter[int] = Counter()
        for _, item, kind, _ in (event for event in events if event[0] == person):
            weights[row_of[item]] += live.recommendations.event_weights[kind]  # type: ignore[assignment]
        seen, confidence = list(weights), model.alpha * np.array(list(weights.values()), float)
        expected = solve_user_factor(confidence, factors[seen], gram)
        top = store.read_list(person)[1]
        assert top
        assert top.model_version == version
        (exact,) = read_recommender(live, version).lists(store.read_histories([person]), 0)
        assert places(top) == places(exact)
        scores, stored = (np.array([item.score for item in one.items]) for one in (exact, top))
        np.testing.assert_allclose(stored, scores, rtol=0, atol=0.51 * np.ptp(scores) / (LEVELS - 1))
        folded, *_ = np.linalg.lstsq(factors[[row_of[item.item_id] for item in top.items]], scores)
        np.testing.assert_allclose(folded, expected, atol=1e-4, rtol=0, err_msg=f"{person} in {version}")


@contextmanager
def api(live: Settings) -> Iterator[int]:
    """Run the API as a process of its own."""
    port = free_port()
    variables = {
        "AFTERCLICK_REDIS__URL": live.redis.url.get_secret_value(),
        "AFTERCLICK_REDIS__PREFIX": live.redis.prefix,
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": live.kafka.bootstrap_servers,
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": live.privacy.pseudonym_key.get_secret_value(),
        "AFTERCLICK_SERVING__PORT": str(port),
    }
    service = services.start_service("api", ["-m", "afterclick.cli", "serve"], live, variables=variables)
    with services.stopping([service]):
        services.wait_until_ready(service, f"http://127.0.0.1:{port}/health/ready")
        yield port


def _wait_for(answers: list[Any], count: int) -> None:
    deadline = time.monotonic() + 60
    while len(answers) < count and time.monotonic() < deadline:
        time.sleep(0.01)


def _poll(port: int, people: list[str], stopping: threading.Event, answers: list[tuple[str, str, bool]]) -> None:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    while not stopping.is_set():
        person = people[len(answers) % len(people)] if len(answers) % 3 else "stranger"
        connection.request("GET", f"/v1/recommendations/{person}?n=45")
        got = connection.getresponse()
        answer = json.loads(got.read())
        version = answer["model_version"]
        items = [item["item_id"] for item in answer["items"]]
        pure = all(item in COMMON or item.startswith(version) for item in items)
        answers.append((person, version, got.status == 200 and pure and len(items) > 0))
    connection.close()


def test_a_full_store_leaves_the_old_version_served(live: Settings, store: RedisStore) -> None:
    class Full(RedisStore):
        def write_popular(self, top: TopList) -> None:
            raise StoreUnavailableError("OOM command not allowed when used memory > 'maxmemory'")

    warm(live, "v2")

    with pytest.raises(StoreUnavailableError, match="OOM"):
        serve(live, Full(store.client, live.redis), "v2")
    assert VersionPointer(store).versions() == Versions("v1", "v2", None)
