"""A list that is shown reaches Delta through Kafka, and an event that sends its token back names it."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
from fastapi.testclient import TestClient
from kafka import KafkaConsumer

from afterclick.attribution import attribution_key
from afterclick.collector.messages import Arrival
from afterclick.collector.segment_messages import read_message
from afterclick.connectors import delta_tables, redis_store
from afterclick.local.kafka import create_topic
from afterclick.models import save_model
from afterclick.schemas import EVENT
from afterclick.schemas_shown import SHOWN_LIST
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.answers import Recommendations
from afterclick.serving.app import create_app
from afterclick.serving.metrics import Metrics
from afterclick.serving.shown_log import ShownLog
from afterclick.settings import Settings
from afterclick.shown_lists import weigh_lists
from builders import make_model, rows_of
from jobs import log_shown_lists


@pytest.fixture
def logging_api(live: Settings) -> Settings:
    """Return settings of an API that explores and logs, with a popular list."""
    topic = f"shown-{live.redis.prefix.strip(':')}"
    create_topic(live.kafka.bootstrap_servers, topic, 1)
    serving = live.serving.model_copy(update={"log_shown": True, "shown_topic": topic, "explore": 0.5})
    save_model(make_model(items=30), model_folder(live, "v1"))
    store = redis_store.connect(live.redis)
    store.write_popular(read_recommender(live, "v1").popular(1))
    store.switch_version("v1")
    return live.model_copy(update={"serving": serving})


def test_shown_lists_are_logged_with_propensities_and_dry_runs_are_not(logging_api: Settings, spark: Any) -> None:
    with TestClient(create_app(logging_api)) as client:
        shown = [client.get(f"/v1/recommendations/u{n}?n=5&placement=home&pin=item-9").json() for n in range(40)]
        looked = client.get("/v1/recommendations/u1?n=5&dry_run=true").json()
    query = log_shown_lists.start(spark, logging_api)
    query.processAllAvailable()
    delta_tables.stop_between_batches(query)

    rows = {row.list_id: row for row in delta_tables.read_table(spark, logging_api, "shown_lists").collect()}

    assert (looked["list_id"], looked["attribution"]) == (None, None)
    assert {*rows} == {answer["list_id"] for answer in shown}
    for answer in shown:
        row = rows[answer["list_id"]]
        places = [(item["rank"], item["item_id"], item["reason"], item["propensity"]) for item in answer["items"]]
        assert [tuple(item) for item in row["items"]] == places
        assert (row.placement, row.source, row.model_version) == ("home", "popular", "v1")
    told = {item["propensity"] for answer in shown for item in answer["items"]}
    assert told == {1.0, 1 - 0.5 / 4, 0.5 / (4 * 10)}
    assert {answer["items"][0]["item_id"] for answer in shown} == {"item-9"}

    events = rows_of(spark, EVENT, [_event(logging_api, shown[0], shown[0]["items"][1]["item_id"])])
    (home,) = weigh_lists(delta_tables.read_table(spark, logging_api, "shown_lists"), events).collect()
    weight = 1 / shown[0]["items"][1]["propensity"]
    assert (home.lists, home.followed, home.click_through) == (40, 1, 1 / 40)
    assert home.weighed_clicks == pytest.approx(weight)


def test_lists_that_wait_while_several_threads_send_reach_kafka_once_and_in_order(
    logging_api: Settings, fine_switches: None
) -> None:
    log = ShownLog(logging_api.kafka, logging_api.serving, Metrics())
    shown = Recommendations(source="popular", model_version="v1", fresh_as_of=None, generated_at="", items=[])
    for n in range(3_000):
        log.add(shown, n)

    with ThreadPoolExecutor(4) as pool:
        sendings = [pool.submit(log.send) for _ in range(4)]
        log.close()
    for sending in sendings:
        sending.result()

    consumer = KafkaConsumer(
        logging_api.serving.shown_topic,
        bootstrap_servers=logging_api.kafka.bootstrap_servers,
        auto_offset_reset="earliest",
        consumer_timeout_ms=3_000,
    )
    assert [json.loads(message.value)["shown_ms"] for message in consumer] == [*range(3_000)]
    consumer.close()


@pytest.fixture
def fine_switches() -> Iterator[None]:
    """Let threads take turns as often as Python can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


def _event(settings: Settings, answer: dict[str, Any], item: str) -> dict[str, Any]:
    """Return the event that the collector makes of a click with the list's token."""
    key = attribution_key(settings.privacy.pseudonym_key.get_secret_value().encode())
    message = {
        "type": "track", "event": "Product Clicked", "userId": "u0", "messageId": "m-1",
        "properties": {"product_id": item, "attribution": answer["attribution"]},
    }  # fmt: skip
    arrival = Arrival(datetime(2026, 11, 26, tzinfo=UTC), attribution_keys=(key,))
    fields = read_message(json.dumps(message).encode(), arrival, settings.collector).fields
    assert fields["list_id"] == answer["list_id"]
    now = datetime(2026, 11, 26, tzinfo=UTC)
    known = {"subject_id": "s", "event_at": now, "received_at": now, "consent": ["analytics"], "event_date": now.date()}
    items = [(one["item_id"], one["quantity"], one["price"]) for one in fields["items"]]
    return {name: fields[name] for name in EVENT.names if name in fields} | known | {"items": items}


def test_messages_that_the_api_did_not_write_are_left_out(spark: Any) -> None:
    from afterclick.shown_lists import decode_shown

    raw = spark.createDataFrame([(b"{}",), (b"\xff",), (None,), (b'{"list_id": "x"}',)], "value binary")

    assert decode_shown(raw).count() == 0
    assert decode_shown(raw).schema.names == SHOWN_LIST.names
