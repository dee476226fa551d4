"""What all answers share, on real Redis: damage in one value ends nothing, neither the API's start nor its refresh."""

import json
import logging
import time
from collections.abc import Callable

import pytest
from fastapi.testclient import TestClient

from afterclick.connectors import redis_store
from afterclick.connectors.catalogue_store import ServedCatalogue, catalogue_digest_key, catalogue_key, write_catalogue
from afterclick.connectors.withdrawn_items import withdrawn_key
from afterclick.models import save_model
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.settings import Settings
from afterclick.subject_directory import SubjectDirectory
from builders import make_model


@pytest.fixture
def served(live: Settings) -> Settings:
    """Return settings of an API that looks often, with a served model."""
    save_model(make_model(items=30), model_folder(live, "v1"))
    store, recommender = redis_store.connect(live.redis), read_recommender(live, "v1")
    store.switch_version("v1")
    store.write_popular(recommender.popular(1))
    store.write_items("v1", recommender.item_ids)
    return live.model_copy(update={"serving": live.serving.model_copy(update={"popular_refresh_seconds": 0.05})})


def store_digest_alone(settings: Settings) -> None:
    redis_store.connect(settings.redis).client.set(catalogue_digest_key(settings.redis.prefix), "of nothing")


def damage_catalogue(settings: Settings) -> None:
    store_digest_alone(settings)
    redis_store.connect(settings.redis).client.set(catalogue_key(settings.redis.prefix), b"garbage")


def damage_popular(settings: Settings) -> None:
    redis_store.connect(settings.redis).client.set(redis_store.popular_key(settings.redis.prefix, "v1"), b"garbage")


def change_type_of_popular(settings: Settings) -> None:
    client, key = redis_store.connect(settings.redis).client, redis_store.popular_key(settings.redis.prefix, "v1")
    client.delete(key)
    client.sadd(key, "garbage")


def damage_names(settings: Settings) -> None:
    redis_store.connect(settings.redis).client.set(redis_store.items_key(settings.redis.prefix, "v1"), b"garbage")


def name_a_damaged_version(settings: Settings) -> None:
    client, prefix = redis_store.connect(settings.redis).client, settings.redis.prefix
    for key in (redis_store.popular_key(prefix, "v2"), redis_store.items_key(prefix, "v2")):
        client.set(key, b"garbage")
    redis_store.connect(settings.redis).switch_version("v2")


def damage_pointer(settings: Settings) -> None:
    redis_store.connect(settings.redis).client.set(redis_store.pointer_key(settings.redis.prefix), b"\xff\x00")


DAMAGE = [
    store_digest_alone,
    damage_catalogue,
    damage_popular,
    change_type_of_popular,
    damage_names,
    name_a_damaged_version,
    damage_pointer,
]


def forget_withdrawn(client: TestClient, settings: Settings) -> bool:
    """Withdraw an item and return whether the API stops listing it within seconds."""
    redis_store.connect(settings.redis).client.sadd(withdrawn_key(settings.redis.prefix), "item-0")
    until = time.monotonic() + 5
    while time.monotonic() < until:
        answer = client.get("/v1/popular?n=30")
        assert answer.status_code == 200
        if "item-0" not in {item["item_id"] for item in answer.json()["items"]}:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("damage", DAMAGE)
def test_what_cannot_be_read_keeps_nothing_withdrawn_in_the_lists(
    served: Settings, damage: Callable[[Settings], None]
) -> None:
    with TestClient(create_app(served)) as client:
        damage(served)
        time.sleep(0.2)

        assert forget_withdrawn(client, served)
        assert client.get("/v1/recommendations/ada").status_code == 200


@pytest.mark.parametrize("damage", DAMAGE)
def test_the_api_starts_though_something_cannot_be_read(served: Settings, damage: Callable[[Settings], None]) -> None:
    damage(served)

    with TestClient(create_app(served)) as client:
        assert client.get("/health/ready").json()["model_version"] == "v1"
        assert forget_withdrawn(client, served)


def test_damage_is_logged_once_and_a_whole_value_is_read_again(
    served: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    with TestClient(create_app(served)) as client:
        damage_catalogue(served)
        time.sleep(0.5)
        told = [one for one in caplog.records if "the catalogue in Redis cannot be read" in one.getMessage()]
        write_catalogue(redis_store.connect(served.redis), ServedCatalogue(out_of_stock=frozenset({"item-1"})))
        until = time.monotonic() + 5
        while "item-1" in client.get("/v1/popular?n=30").text and time.monotonic() < until:
            time.sleep(0.05)

        assert '"item-1"' not in client.get("/v1/popular?n=30").text
    assert len(told) == 1
    assert told[0].levelno == logging.ERROR


def test_an_error_in_following_people_ends_neither_that_nor_the_refresh(
    served: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float] = []

    async def fail(_: SubjectDirectory) -> None:
        asked.append(time.monotonic())
        raise json.JSONDecodeError("not ours", "", 0)

    monkeypatch.setattr(SubjectDirectory, "drop_changed", fail)
    with TestClient(create_app(served)) as client:
        time.sleep(0.2)
        assert forget_withdrawn(client, served)
        until = time.monotonic() + 5
        while len(asked) < 2 and time.monotonic() < until:
            time.sleep(0.05)

    assert len(asked) >= 2


def test_a_model_of_which_half_a_manifest_is_written_stops_nothing(settings: Settings) -> None:
    """The API runs before there is a model, and reads the folder as the training writes into it; Redis is away."""
    often = settings.model_copy(
        update={"serving": settings.serving.model_copy(update={"popular_refresh_seconds": 0.05})}
    )
    half = model_folder(settings, "v1")
    half.mkdir(parents=True)
    (half / "manifest.json").write_text('{"layout": ')

    with TestClient(create_app(often)) as client:
        assert client.get("/v1/popular").status_code == 503
        time.sleep(0.2)
        save_model(make_model(items=30), half)
        until = time.monotonic() + 5
        while client.get("/v1/popular").status_code == 503 and time.monotonic() < until:
            time.sleep(0.05)

        assert client.get("/health/ready").json()["model_version"] == "v1"
