"""Redis for real: what is written is read, the fence holds, a lost race is seen."""

import msgspec
import numpy as np
import pytest

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import CONFLICT, FENCED, WRITTEN, Fence, ListUpdate, RedisStore, StoredHistory
from afterclick.errors import StoreUnavailableError
from afterclick.histories import RECORD
from afterclick.list_records import TopList
from afterclick.places import ListedItem
from afterclick.setting_sections import RedisSettings
from afterclick.settings import Settings

RECORDS = np.array([(7, 1000, 1)], RECORD)
TOP = TopList("v1", "fold_in", 5, 6, [ListedItem("mug", 0.5, "because_you_interacted")])


@pytest.fixture
def store(live: Settings) -> RedisStore:
    """Open a store that knows the items of version v1."""
    opened = redis_store.connect(live.redis)
    opened.write_items("v1", ["cup", "mug"])
    return opened


def update(revision: int, fence: Fence, records: np.ndarray = RECORDS) -> ListUpdate:
    return ListUpdate("ada", StoredHistory(records, revision, fresh_as_of_ms=5), TOP, fence)


def test_write_lists_stores_history_and_list_with_expiry(live: Settings, store: RedisStore) -> None:
    store.switch_version("v1")

    assert store.write_lists([update(0, Fence(1, 2))]) == [WRITTEN]

    stored = store.read_histories(["ada", "nobody"])
    assert stored[0].records.tolist() == RECORDS.tolist()
    assert (stored[0].revision, stored[0].fence, stored[0].fresh_as_of_ms) == (1, Fence(1, 2), 5)
    assert (stored[1].revision, len(stored[1].records)) == (0, 0)
    assert store.read_list("ada") == ("v1", TOP)
    client = store.client
    assert 0 < client.ttl(redis_store.history_key(live.redis.prefix, "ada")) <= live.redis.history_ttl_days * 86_400
    assert 0 < client.ttl(redis_store.list_key(live.redis.prefix, "v1", "ada")) <= live.redis.list_ttl_days * 86_400


def test_write_lists_says_conflict_when_someone_wrote_since_we_read(store: RedisStore) -> None:
    store.write_lists([update(0, Fence(1, 1))])

    assert store.write_lists([update(0, Fence(1, 1)), update(7, Fence(1, 1)), update(1, Fence(1, 1))]) == [
        CONFLICT, CONFLICT, WRITTEN,
    ]  # fmt: skip


@pytest.mark.parametrize("older", [Fence(1, 9), Fence(2, 4)], ids=["older_generation", "older_batch"])
def test_write_lists_is_fenced_when_a_later_writer_was_here(store: RedisStore, older: Fence) -> None:
    store.write_lists([update(0, Fence(2, 5))])

    assert store.write_lists([update(1, older)]) == [FENCED]
    assert store.read_histories(["ada"])[0].revision == 1


@pytest.mark.parametrize(
    "later", [Fence(2, 5), Fence(2, 6), Fence(3, 0)], ids=["same_batch_again", "next_batch", "new_generation"]
)
def test_write_lists_lets_the_same_or_a_later_writer_through(store: RedisStore, later: Fence) -> None:
    store.write_lists([update(0, Fence(2, 5))])

    assert store.write_lists([update(1, later)]) == [WRITTEN]


def test_write_lists_keeps_history_only_before_the_first_model(live: Settings) -> None:
    store = redis_store.connect(live.redis)

    store.write_lists([update(0, Fence(1, 0))._replace(top=None)])

    assert store.read_histories(["ada"])[0].revision == 1
    assert store.read_list("ada") == (None, None)


def test_popular_list_is_read_as_written(live: Settings) -> None:
    store = redis_store.connect(live.redis)

    store.write_popular(TOP)

    assert store.read_popular("v1") == TOP
    assert store.read_popular("v2") is None


def test_lists_of_a_version_whose_items_are_not_stored_are_refused_by_name(live: Settings) -> None:
    store = redis_store.connect(live.redis)

    with pytest.raises(StoreUnavailableError, match=f"no key {live.redis.prefix}items:v1, .*rebuild-cache"):
        store.write_lists([update(0, Fence(1, 1))])


def test_a_list_that_an_earlier_version_wrote_is_read(live: Settings, store: RedisStore) -> None:
    store.switch_version("v1")
    store.client.set(redis_store.list_key(live.redis.prefix, "v1", "ada"), msgspec.msgpack.encode(TOP))

    assert store.read_list("ada") == ("v1", TOP)


def test_item_ids_expire_with_the_lists_unless_the_version_is_served(live: Settings, store: RedisStore) -> None:
    key, client = redis_store.items_key(live.redis.prefix, "v1"), store.client
    assert client.ttl(key) == -1

    store.write_items("v1", ["cup", "mug"], expires=True)

    assert 0 < client.ttl(key) <= live.redis.list_ttl_days * 86_400


def test_commands_say_store_unavailable_when_redis_is_down() -> None:
    store = redis_store.connect(RedisSettings.model_validate({"url": "redis://127.0.0.1:1/0"}), patience=1)

    with pytest.raises(StoreUnavailableError, match="Redis does not answer"):
        store.read_histories(["ada"])


def test_read_histories_refuses_what_another_program_wrote(live: Settings) -> None:
    store = redis_store.connect(live.redis)
    store.client.set(redis_store.history_key(live.redis.prefix, "ada"), b"something else")

    with pytest.raises(StoreUnavailableError, match="another program"):
        store.read_histories(["ada"])
