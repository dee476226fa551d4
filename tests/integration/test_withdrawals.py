"""A withdrawal empties a person's list within seconds; a replay or a batch in flight does not bring it back."""

import secrets
import time

import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from afterclick import withdrawals
from afterclick.connectors import kept_out, redis_store
from afterclick.connectors.kept_out import keep_allowed, open_kept_out
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.consent_rules import Claim, Person
from afterclick.list_updates import recompute_here
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import Reason, update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.settings import Settings
from afterclick.switching import catch_up
from builders import make_model

NOW_MS = 1_790_000_000_000
YES = {"analytics": True, "personalisation": True}
ADA, BOB = RawId("user", f"ada-{secrets.token_hex(12)}"), RawId("user", f"bob-{secrets.token_hex(12)}")


@pytest.fixture
def installed(live: Settings) -> Settings:
    """Real servers; this process's memory of withdrawals starts empty."""
    kept_out._kept_out.cache_clear()  # noqa: SLF001
    return live


@pytest.fixture
def people(installed: Settings) -> dict[str, Person]:
    """Ada and Bob, who allow everything."""
    found = open_subject_store(installed).admit([Claim(ADA, YES, 2), Claim(BOB, YES, 3)])
    return {name: person for name, person in zip(("ada", "bob"), found, strict=True) if person}


def list_of(settings: Settings, people: dict[str, Person], items: tuple[str, ...] = ("item-1",)) -> None:
    save_model(make_model(items=30), model_folder(settings, "v1"))
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, "v1")
    store.write_popular(recommender.popular(1))
    store.switch_version("v1")
    rows = pa.table(
        {
            "subject_id": [p.subject_id for p in people.values() for _ in items],
            "item_id": [item for _ in people for item in items],
            "event_type": ["view"] * len(people) * len(items),
            "event_ms": [5] * len(people) * len(items),
            "received_ms": [NOW_MS] * len(people) * len(items),
        }
    )
    allowed = keep_allowed(rows, open_kept_out(settings))
    update_lists(allowed, recommender, store, length=9, fence=Fence(1, 1), now_ms=NOW_MS)


@pytest.mark.parametrize("purpose", YES)
def test_withdrawal_empties_the_list_and_a_new_grant_begins_anew(
    purpose: str, installed: Settings, people: dict[str, Person]
) -> None:
    list_of(installed, people)
    with TestClient(create_app(installed)) as api:

        def source(user: RawId) -> str:
            return str(api.get(f"/v1/recommendations/{user.text}").json()["source"])

        assert (source(ADA), source(BOB)) == ("fold_in", "fold_in")
        begun = time.monotonic()
        withdrawals.change_consent(installed, ADA, {purpose: False}, source="api")
        while source(ADA) != "popular":
            assert time.monotonic() - begun < 5
            time.sleep(0.05)
        cache = redis_store.connect(installed.redis)
        kept_out._kept_out.cache_clear()  # noqa: SLF001 - as a second later
        list_of(installed, people, ("item-1", "item-2"))  # a replay
        history = cache.read_histories([people["ada"].subject_id])[0]
        assert (len(history.records), source(ADA), source(BOB)) == (0, "popular", "fold_in")

        withdrawals.change_consent(installed, ADA, {purpose: True}, source="api")
        kept_out._kept_out.cache_clear()  # noqa: SLF001
        assert cache.read_histories([people["ada"].subject_id])[0].revision == 0
        until = open_kept_out(installed).until_ms([people["ada"].subject_id], purpose)
        assert 0 < until[0] < kept_out.FOR_EVER


def test_fence_stops_a_batch_that_was_being_computed(installed: Settings, people: dict[str, Person]) -> None:
    list_of(installed, people)
    before = open_kept_out(installed)
    assert before.is_empty

    withdrawals.change_consent(installed, ADA, {"personalisation": False}, source="api")
    list_of(installed, people, ("item-9",))  # this process has not read the withdrawal yet
    recompute_here(
        {people["ada"].subject_id: Reason("left carts", "cart_abandonment", ("item-3",))}, settings=installed
    )

    assert before.is_empty
    assert redis_store.connect(installed.redis).read_list(people["ada"].subject_id)[1] is None
    assert len(redis_store.connect(installed.redis).read_histories([people["ada"].subject_id])[0].records) == 0


def test_withdrawal_holds_while_another_version_is_being_warmed(installed: Settings, people: dict[str, Person]) -> None:
    list_of(installed, people)
    save_model(make_model(items=30, version="v2"), model_folder(installed, "v2"))
    store, recommender = redis_store.connect(installed.redis), read_recommender(installed, "v2")
    pointer, ada = VersionPointer(store), people["ada"].subject_id
    pointer.announce("v2")
    store.write_items("v2", recommender.item_ids, expires=True)
    list_of(installed, people, ("item-2",))
    histories = store.read_histories([ada])
    assert set(pointer.behind("v2", 9)) == {person.subject_id for person in people.values()}

    withdrawals.change_consent(installed, ADA, {"personalisation": False}, source="api")

    assert pointer.behind("v2", 9) == [people["bob"].subject_id]
    assert pointer.write_fresh([ada], histories, recommender.lists(histories, NOW_MS)) == 0
    closed = store.read_histories([ada])
    pointer.write_fresh([ada], closed, recommender.lists(closed, NOW_MS))
    catch_up(store, recommender, now_ms=NOW_MS)
    keys = store.client.keys(f"{installed.redis.prefix}*{ada}")
    assert keys == [redis_store.history_key(installed.redis.prefix, ada)]
    assert store.client.get(redis_store.list_key(installed.redis.prefix, "v2", people["bob"].subject_id))
