"""The API on real Redis: personal, cold, unknown; and a list when Redis is down."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial

import msgspec
import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.withdrawn_items import WithdrawnItems
from afterclick.consent_rules import Claim
from afterclick.list_records import ItemNames, TopList, pack_list
from afterclick.list_updates import update_here
from afterclick.models import save_model
from afterclick.places import ListedItem
from afterclick.popular_list import popular_list
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.serving_settings import ServingSettings
from afterclick.settings import Settings
from builders import make_model, make_sources

ADA = RawId("user", "ada")


def warmed(live: Settings) -> None:
    ada = open_subject_store(live).admit([Claim(ADA, {"personalisation": True}, 1)])[0]
    assert ada is not None
    save_model(make_model(items=30), model_folder(live, "v1"))
    store, recommender = redis_store.connect(live.redis), read_recommender(live, "v1")
    store.switch_version("v1")
    row = {
        "subject_id": [ada.subject_id],
        "item_id": ["item-3"],
        "event_type": ["view"],
        "event_ms": [5],
        "received_ms": [1000],
    }
    update_lists(pa.table(row), recommender, store, length=9, fence=Fence(1, 1), now_ms=2000)
    store.write_popular(recommender.popular(1))


@pytest.fixture
def client(live: Settings) -> Iterator[TestClient]:
    warmed(live)
    with TestClient(create_app(live)) as opened:
        yield opened


def test_known_person_gets_a_personal_list(client: TestClient) -> None:
    answer = client.get("/v1/recommendations/ada", params={"n": 5, "explain": "true"}).json()

    assert (answer["source"], answer["model_version"]) == ("fold_in", "v1")
    assert (answer["fresh_as_of"], answer["generated_at"]) == ("1970-01-01T00:00:01.000Z", "1970-01-01T00:00:02.000Z")
    assert [item["rank"] for item in answer["items"]] == [1, 2, 3, 4, 5]
    assert {item["because"] for item in answer["items"]} == {"item-3"}
    assert [item["carried_by"] for item in answer["items"]] == [[{"item_id": "item-3", "share": 1.0}]] * 5


def test_without_explain_no_past_item_is_named(client: TestClient) -> None:
    answer = client.get("/v1/recommendations/ada", params={"n": 5}).json()

    told = [(item["because"], item["share"], item["carried_by"]) for item in answer["items"]]
    assert told == [(None, None, None)] * 5


def test_the_person_view_says_what_is_behind_each_place(live: Settings) -> None:
    warmed(live)
    with TestClient(create_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 5)) as opened:
        page = opened.get("/status/person", params={"user_id": "ada"}).text

    assert "<td>because_you_interacted</td><td>item-3</td><td>100 %</td>" in page


UNNAMED = pack_list(
    TopList("v1", "fold_in", 1, 2, [ListedItem("item-9", 0.5, "again")]), ItemNames(["other"] * 1_000 + ["item-9"])
)
"""Whole, but its item has a number that no item of the version has: that shows when it is looked at."""


def test_the_person_view_says_what_is_wrong_with_a_list_that_cannot_be_read(live: Settings) -> None:
    warmed(live)
    client = redis_store.connect(live.redis).client
    (key,) = client.keys(f"{live.redis.prefix}r:v1:*")
    client.set(key, UNNAMED)

    with TestClient(create_app(live), base_url="http://127.0.0.1", client=("127.0.0.1", 5)) as opened:
        answer = opened.get("/status/person", params={"user_id": "ada"})

    assert answer.status_code == 200
    assert "rebuild-cache" in answer.text


@pytest.mark.parametrize(
    "stored", [b"something else", b"L1" + bytes(40), UNNAMED], ids=["foreign", "damaged", "unnamed"]
)
def test_a_list_that_cannot_be_read_counts_as_none_and_the_past_is_still_known(live: Settings, stored: bytes) -> None:
    warmed(live)
    client = redis_store.connect(live.redis).client
    (key,) = client.keys(f"{live.redis.prefix}r:v1:*")
    client.set(key, stored)

    with TestClient(create_app(live)) as opened:
        answer = opened.get("/v1/recommendations/ada", params={"n": 29, "exclude_seen": "true"}).json()

    assert (answer["source"], answer["relaxed"], len(answer["items"])) == ("popular", [], 29)
    assert "item-3" not in {item["item_id"] for item in answer["items"]}


def test_a_list_that_an_earlier_version_stored_is_shown(live: Settings) -> None:
    warmed(live)
    store = redis_store.connect(live.redis)
    ada = open_subject_store(live).admit([Claim(ADA, {"personalisation": True}, 1)])[0]
    assert ada is not None
    before = store.read_list(ada.subject_id)[1]
    store.client.set(redis_store.list_key(live.redis.prefix, "v1", ada.subject_id), msgspec.msgpack.encode(before))
    store.client.delete(redis_store.items_key(live.redis.prefix, "v1"))

    with TestClient(create_app(live)) as opened:
        answer = opened.get("/v1/recommendations/ada", params={"n": 5}).json()

    assert before
    assert [item["item_id"] for item in answer["items"]] == [item.item_id for item in before.items[:5]]


def test_a_person_whose_visit_is_over_gets_the_list_for_the_next_one(live: Settings) -> None:
    """The stream writes both lists with the event; the API picks by the age of the last one."""
    warmed(live)
    save_model(make_model(items=30, version="v2", sources=make_sources(items=30)), model_folder(live, "v2"))
    store, recommender = redis_store.connect(live.redis), read_recommender(live, "v2")
    store.switch_version("v2")
    ada = open_subject_store(live).admit([Claim(ADA, {"personalisation": True}, 1)])[0]
    assert ada is not None
    row = {"subject_id": [ada.subject_id], "item_id": ["item-3"], "event_type": ["view"], "event_ms": [60_000]}
    table = pa.table(row | {"received_ms": [60_000]})
    update_lists(table, recommender, store, length=9, fence=Fence(1, 2), now_ms=60_100)
    (folded,) = recommender.lists(store.read_histories([ada.subject_id]), 60_100)

    shown = {}
    for seconds in (61, 60 + 1800, 60 + 1801):
        with TestClient(create_app(live, partial(datetime.fromtimestamp, seconds, UTC))) as opened:
            answer = opened.get("/v1/recommendations/ada", params={"n": 3}).json()
        assert (answer["source"], answer["model_version"]) == ("fold_in", "v2")
        shown[seconds] = [item["item_id"] for item in answer["items"]]

    assert shown[61] == shown[1860] == [item.item_id for item in folded.items[:3]]
    assert shown[1861][0] == "item-3"
    assert folded.items[0].item_id != "item-3"


@pytest.mark.parametrize(
    "path", ["/v1/recommendations/nobody", "/v1/recommendations/ada?kind=anonymous", "/v1/popular"]
)
def test_unknown_person_gets_the_popular_list(client: TestClient, path: str) -> None:
    answer = client.get(path)

    assert answer.status_code == 200
    assert (answer.json()["source"], answer.json()["items"][0]["item_id"]) == ("popular", "item-0")


def test_strangers_see_what_became_active_since(live: Settings) -> None:
    """`jobs/aggregate_activity.py` writes the popular list of the same version anew."""
    warmed(live)
    often = live.model_copy(update={"serving": live.serving.model_copy(update={"popular_refresh_seconds": 0.05})})
    with TestClient(create_app(often)) as opened:
        before = opened.get("/v1/popular").json()["items"][0]["item_id"]
        recent = np.eye(30)[7] * 9
        redis_store.connect(live.redis).write_popular(popular_list(make_model(items=30), 5, now_ms=2, recent=recent))
        deadline = time.monotonic() + 10
        while opened.get("/v1/popular").json()["items"][0]["item_id"] == before and time.monotonic() < deadline:
            time.sleep(0.05)
        after = [item["item_id"] for item in opened.get("/v1/popular").json()["items"]]

    assert before == "item-0"
    assert after[:3] == ["item-7", "item-0", "item-1"]


def test_a_person_who_withdrew_elsewhere_gets_the_popular_list_though_theirs_is_still_stored(
    client: TestClient, live: Settings
) -> None:
    assert client.get("/v1/recommendations/ada").json()["source"] == "fold_in"
    open_subject_store(live).admit([Claim(ADA, {"personalisation": False}, 10**13, "api")])
    begun = time.monotonic()

    while client.get("/v1/recommendations/ada").json()["source"] == "fold_in":
        assert time.monotonic() - begun < 5
        time.sleep(0.05)


def test_exclude_leaves_items_out(client: TestClient) -> None:
    first = [item["item_id"] for item in client.get("/v1/recommendations/ada?n=3").json()["items"]]

    again = client.get("/v1/recommendations/ada", params={"n": 3, "exclude": ",".join(first[:2])}).json()["items"]

    assert again[0]["item_id"] == first[2]
    assert not {item["item_id"] for item in again} & set(first[:2])


def test_exclude_seen_leaves_out_what_the_person_had_and_gives_the_placement_back(client: TestClient) -> None:
    answer = client.get("/v1/recommendations/ada?n=29&exclude_seen=true&placement=home").json()

    assert "item-3" not in {item["item_id"] for item in answer["items"]}
    assert (len(answer["items"]), answer["placement"]) == (29, "home")


def test_a_session_gets_its_list_and_nothing_is_stored(client: TestClient, live: Settings) -> None:
    before = redis_store.connect(live.redis).client.dbsize()

    body = {"items": ["item-3"], "n": 5, "explain": True, "exclude_seen": True}
    answer = client.post("/v1/recommendations", json=body).json()

    expected = read_recommender(live, "v1").session_list(["item-3"], 0)
    names = [item.item_id for item in expected.items if item.item_id != "item-3"][:5]
    assert (answer["source"], [item["item_id"] for item in answer["items"]]) == ("session", names)
    assert {item["because"] for item in answer["items"]} == {"item-3"}
    assert redis_store.connect(live.redis).client.dbsize() == before
    unknown = client.post("/v1/recommendations", json={"items": ["nowhere"]}).json()
    assert (unknown["source"], len(unknown["items"])) == ("popular", 10)


def test_a_batch_answers_everybody_as_one_by_one(client: TestClient) -> None:
    together = client.post("/v1/recommendations/batch", json={"users": ["ada", "nobody"], "n": 4}).json()

    for name in ("ada", "nobody"):
        alone = client.get(f"/v1/recommendations/{name}?n=4").json()
        assert together[name]["items"] == alone["items"]
        assert together[name]["source"] == alone["source"]


def test_similar_items_are_not_the_item_itself_and_an_unknown_one_gets_popular_items(client: TestClient) -> None:
    answer = client.get("/v1/similar/item-3?n=7").json()

    assert (answer["source"], len(answer["items"])) == ("similar", 7)
    assert "item-3" not in {item["item_id"] for item in answer["items"]}
    assert client.get("/v1/similar/nowhere").json()["source"] == "popular"


def test_a_withdrawn_item_is_in_no_answer_once_the_api_has_read_the_set(live: Settings) -> None:
    warmed(live)
    store = WithdrawnItems(live)
    store.withdraw(["item-0", "item-3"])

    with TestClient(create_app(live)) as client:
        answers = [
            client.get("/v1/popular?n=30"),
            client.get("/v1/recommendations/ada?n=30"),
            client.post("/v1/recommendations", json={"items": ["item-1"], "n": 30}),
            client.get("/v1/similar/item-1?n=30"),
        ]

    listed = [{item["item_id"] for item in answer.json()["items"]} for answer in answers]
    assert not {"item-0", "item-3"} & set().union(*listed)
    assert min(map(len, listed)) >= 27
    store.restore(["item-0"])
    assert store.read() == ["item-3"]


def test_everybody_stays_in_a_bucket_and_only_the_exploring_one_explores(live: Settings) -> None:
    warmed(live)
    sides = {"control": {"share": 1, "explore": 0}, "explorers": {"share": 1, "explore": 1}}
    serving = ServingSettings.model_validate({**live.serving.model_dump(), "buckets": sides})
    asked = [f"/v1/recommendations/person-{number}?n=5" for number in range(30)]

    with TestClient(create_app(live.model_copy(update={"serving": serving}))) as client:
        answers = [client.get(path).json() for path in asked]
        again = [client.get(path).json()["bucket"] for path in asked]
        looked = [client.get(f"{path}&dry_run=true").json() for path in asked]

    assert [answer["bucket"] for answer in answers] == again
    assert set(again) == {"control", "explorers"}
    best = [f"item-{number}" for number in range(5)]
    for answer in answers:
        differing = sum(item["item_id"] != own for item, own in zip(answer["items"], best, strict=True))
        assert differing == (answer["bucket"] == "explorers")
    assert [[item["item_id"] for item in answer["items"]] for answer in looked] == [best] * 30


def test_lists_and_their_reasons_are_by_the_blend_of_the_side_that_the_answer_names(live: Settings) -> None:
    sides = {"learned": {"share": 1}, "popular": {"share": 1, "blend": {"popularity": 1}}}
    serving = ServingSettings.model_validate({**live.serving.model_dump(), "buckets": sides})
    compared = live.model_copy(update={"serving": serving})
    names = [f"person-{number}" for number in range(30)]
    claims = [Claim(RawId("user", name), {"personalisation": True, "analytics": True}, 1) for name in names]
    people = [person.subject_id for person in open_subject_store(live).admit(claims) if person]
    save_model(make_model(items=30, sources=make_sources(items=30)), model_folder(live, "v1"))
    store, recommender = redis_store.connect(live.redis), read_recommender(live, "v1")
    store.switch_version("v1")
    store.write_popular(recommender.popular(1))
    views = {
        "subject_id": people, "item_id": ["item-3"] * 30, "event_type": ["view"] * 30, "event_ms": [5] * 30,
        "received_ms": [1000] * 30,
    }  # fmt: skip
    update_here(pa.table(views), settings=compared, fence=Fence(1, 1))

    with TestClient(create_app(compared)) as client:
        answers = [client.get(f"/v1/recommendations/{name}?n=5&explain=true").json() for name in names]

    popular = [f"item-{number}" for number in range(5)]
    assert {answer["bucket"] for answer in answers} == {"learned", "popular"}
    for answer in answers:
        is_popular = answer["bucket"] == "popular"
        assert ([item["item_id"] for item in answer["items"]] == popular) == is_popular
        assert ({item["reason"] for item in answer["items"]} == {"popular"}) == is_popular
        assert "item-3" in {item["because"] for item in answer["items"]}  # None where another blend explains the place


@pytest.mark.parametrize("query", ["n=0", "n=501", "n=many", "kind=robot"])
def test_wrong_parameters_are_422(client: TestClient, query: str) -> None:
    assert client.get(f"/v1/recommendations/ada?{query}").status_code == 422


@pytest.mark.parametrize(
    ("path", "status", "place"),
    [
        (f"/v1/recommendations/{'x' * 512}", 200, None),
        (f"/v1/recommendations/{'x' * 513}", 422, ["path", "user_id"]),
        (f"/v1/similar/{'x' * 257}", 422, ["path", "item_id"]),
        ("/v1/popular?n=0", 422, ["query", "n"]),
    ],
    ids=["longest", "longer", "longer_item", "query"],
)
def test_what_is_wrong_in_an_address_is_named(
    client: TestClient, path: str, status: int, place: list[str] | None
) -> None:
    answer = client.get(path)

    assert answer.status_code == status
    assert [one["loc"] for one in answer.json().get("detail", [])] == ([place] if place else [])


def test_health_and_metrics_say_what_was_served(client: TestClient) -> None:
    client.get("/v1/recommendations/ada")

    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").json() == {"status": "ready", "model_version": "v1"}
    assert 'afterclick_serving_lists_total{source="fold_in"} 1.0' in client.get("/metrics").text


def test_redis_down_from_the_start_still_gives_a_list_from_the_local_model(settings: Settings) -> None:
    save_model(make_model(), model_folder(settings, "v1"))

    with TestClient(create_app(settings)) as client:
        answer = client.get("/v1/recommendations/ada")

    assert answer.status_code == 200
    assert (answer.json()["source"], len(answer.json()["items"])) == ("popular", 5)


def test_no_model_at_all_is_503_with_why(settings: Settings) -> None:
    with TestClient(create_app(settings)) as client:
        answers = [client.get(path) for path in ("/v1/recommendations/ada", "/health/ready", "/v1/popular")]

    assert [answer.status_code for answer in answers] == [503, 503, 503]
    assert "train_model" in answers[0].json()["error"]
