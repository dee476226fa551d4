"""What addresses and bodies may ask, on the real API: ids with slashes, repeated parameters, what cannot be JSON, rules."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from afterclick.connectors import redis_store
from afterclick.connectors.catalogue_store import ServedCatalogue, write_catalogue
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.serving_settings import ServingSettings
from afterclick.settings import Settings
from builders import make_model

ITEMS = [f"item-{number}" for number in range(29)] + ["shop//item/3"]
CATEGORY_OF = {item: "tea" if number >= 25 else "cup" for number, item in enumerate(ITEMS)}
PEOPLE = ["ada", "shop/ada", "/ada"]


@pytest.fixture
def ranking(live: Settings) -> list[str]:
    """Serve a model and a list for each person; return the items most like item-3."""
    save_model(replace(make_model(items=30), item_ids=np.array(ITEMS)), model_folder(live, "v1"))
    store, recommender = redis_store.connect(live.redis), read_recommender(live, "v1")
    store.switch_version("v1")
    store.write_popular(recommender.popular(1))
    store.write_items("v1", recommender.item_ids)
    write_catalogue(store, ServedCatalogue(CATEGORY_OF))
    claims = [Claim(RawId("user", name), {"personalisation": True}, 1) for name in PEOPLE]
    subjects = [person.subject_id for person in open_subject_store(live).admit(claims) if person]
    views = {
        "subject_id": subjects, "item_id": ["item-3"] * 3, "event_type": ["view"] * 3, "event_ms": [5] * 3,
        "received_ms": [1000] * 3,
    }  # fmt: skip
    update_lists(pa.table(views), recommender, store, length=9, fence=Fence(1, 1), now_ms=2000)
    top = recommender.similar("item-3", 29, 0)
    assert top
    return [item.item_id for item in top.items]


@pytest.fixture
def client(live: Settings, ranking: list[str]) -> Iterator[TestClient]:
    placements = {"shelf": {"blocked": ranking[:4]}, "explored": {"explore": 1}}
    serving = ServingSettings.model_validate({**live.serving.model_dump(), "placements": placements})
    with TestClient(create_app(live.model_copy(update={"serving": serving})), raise_server_exceptions=False) as opened:
        yield opened


def ids(answer: dict[str, list[dict[str, str]]]) -> list[str]:
    return [item["item_id"] for item in answer["items"]]


def test_similar_items_that_a_request_leaves_out_make_room_for_the_next_similar_ones(
    client: TestClient, ranking: list[str]
) -> None:
    teas = [item for item in ranking if CATEGORY_OF[item] == "tea"]
    cups = [item for item in ranking if CATEGORY_OF[item] == "cup"]
    expected = {
        f"n=5&exclude={quote(','.join(ranking[:5]))}": ranking[5:10],
        "n=3&category=tea": teas[:3],
        "n=6&per_category=3": sorted(teas[:3] + cups[:3], key=ranking.index),
        "n=5&placement=shelf": ranking[4:9],
    }

    answers = {query: client.get(f"/v1/similar/item-3?{query}").json() for query in expected}

    assert {query: ids(answer) for query, answer in answers.items()} == expected
    assert {item["reason"] for answer in answers.values() for item in answer["items"]} == {"similar"}


def test_what_is_explored_among_similar_items_is_similar(client: TestClient, ranking: list[str]) -> None:
    answer = client.get("/v1/similar/item-3?n=5&placement=explored").json()

    assert ids(answer) != ranking[:5]
    assert {item["reason"] for item in answer["items"]} == {"similar"}


@pytest.mark.parametrize("value", ['["\\ud800"]', "NaN", "1e400", "-Infinity"])
@pytest.mark.parametrize(
    ("path", "name"), [("/v1/recommendations", "items"), ("/v1/recommendations/batch", "users")], ids=["one", "batch"]
)
def test_a_body_that_no_answer_could_repeat_is_422_with_field_and_reason(
    client: TestClient, path: str, name: str, value: str
) -> None:
    answer = client.post(path, content=f'{{"{name}": {value}}}', headers={"content-type": "application/json"})

    assert answer.status_code == 422
    (told,) = answer.json()["detail"]
    assert told["loc"][:2] == ["body", name]
    assert told["msg"].startswith("Input should be")
    assert "input" not in told


def test_a_field_that_no_answer_could_name_is_422(client: TestClient) -> None:
    answer = client.post(
        "/v1/recommendations", content=b'{"items": ["mug"], "\\ud800": 1}', headers={"content-type": "application/json"}
    )

    (told,) = answer.json()["detail"]
    assert (answer.status_code, told["type"], told["loc"][0]) == (422, "string_unicode", "body")


def test_the_bound_that_was_passed_is_still_told(client: TestClient) -> None:
    (told,) = client.get("/v1/popular?n=0").json()["detail"]

    assert (told["loc"], told["ctx"]) == (["query", "n"], {"ge": 1})


@pytest.mark.parametrize("person", PEOPLE)
def test_a_person_whose_id_has_slashes_gets_the_list_that_a_batch_has(client: TestClient, person: str) -> None:
    answer = client.get(f"/v1/recommendations/{quote(person, safe='')}").json()

    together = client.post("/v1/recommendations/batch", json={"users": [person]}).json()[person]
    assert answer["source"] == "fold_in"
    assert answer["items"] == together["items"]


def test_an_item_whose_id_has_slashes_has_similar_ones(client: TestClient) -> None:
    answer = client.get(f"/v1/similar/{quote('shop//item/3', safe='')}").json()

    assert answer["source"] == "similar"
    assert "shop//item/3" not in ids(answer)


def test_a_slash_at_the_end_of_an_address_still_counts_for_nothing(client: TestClient) -> None:
    answers = [
        client.get("/v1/recommendations/ada/"),
        client.post("/v1/recommendations/", json={"items": []}),
        client.post("/v1/recommendations/batch/", json={"users": ["ada"]}),
        client.get("/v1/similar/item-3/"),
    ]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert (answers[0].json()["source"], answers[3].json()["source"]) == ("fold_in", "similar")


def test_repeated_item_ids_all_count_and_of_other_parameters_the_last(client: TestClient) -> None:
    first = ids(client.get("/v1/recommendations/ada?n=4").json())

    query = f"n=9&exclude={first[0]}&exclude={first[1]},{first[2]}&pin=item-9&pin=item-8&n=5"
    answer = ids(client.get(f"/v1/recommendations/ada?{query}").json())

    assert len(answer) == 5
    assert answer[:3] == ["item-9", "item-8", first[3]]
    assert not set(answer) & set(first[:3])
