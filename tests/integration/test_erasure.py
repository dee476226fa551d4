"""A person leaves every store: withdrawal empties their lists, erasure removes them for good, others stay as they are."""

import json
import secrets
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import redis
from fastapi.testclient import TestClient
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField

from afterclick import erasure, subject_audit, withdrawals
from afterclick.connectors import delta_tables, kept_out, model_registry, redis_store
from afterclick.connectors.delta_erasure import personal_tables
from afterclick.connectors.erasure_store import Erasure, ErasureStore, Receipt
from afterclick.connectors.kept_out import keep_allowed, open_kept_out
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.session_state import subjects_in_state
from afterclick.connectors.subject_store import SubjectStore, open_subject_store
from afterclick.consent_rules import Claim, Person
from afterclick.events import decode_events, select_events
from afterclick.list_updates import recompute_here
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.quality import flag_violations, read_suite
from afterclick.recommendations import Reason, update_lists
from afterclick.schemas import TABLES
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.sessions import sessionize
from afterclick.settings import Settings, load_settings
from afterclick.subject_export import export_rows
from builders import kafka_rows, make_message, make_model, subject
from conftest import installation_variables
from jobs import erase_subjects, ingest_events, train_model
from jobs.ingest_events import write_events

pytestmark = pytest.mark.timeout(900)
NOW_MS = 1_790_000_000_000
YES = {"analytics": True, "personalisation": True}
ADA, BOB = RawId("user", f"ada-{secrets.token_hex(12)}"), RawId("user", f"bob-{secrets.token_hex(12)}")
PHONE = RawId("anonymous", f"phone-{secrets.token_hex(12)}")


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture
def erasing(live: Settings, stack: dict[str, str], tmp_path: Path) -> Settings:
    """Real servers with the shortest retention; the caches of this process start empty."""
    names = {
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": stack["kafka"],
        "AFTERCLICK_KAFKA__EVENTS_TOPIC": live.kafka.events_topic,
        "AFTERCLICK_REDIS__URL": stack["redis"],
        "AFTERCLICK_REDIS__PREFIX": live.redis.prefix,
        "AFTERCLICK_PRIVACY__VACUUM_HOURS": "0",
        "AFTERCLICK_MODEL__RANK": "2",
    }
    kept_out._kept_out.cache_clear()  # noqa: SLF001
    return load_settings("local", variables=installation_variables(tmp_path / "state", **names))


@pytest.fixture
def people(erasing: Settings) -> dict[str, Person]:
    """Ada, who was anonymous first, and Bob."""
    store = open_subject_store(erasing)
    found = store.admit([Claim(PHONE, YES, 1), Claim(ADA, YES, 2, also=(PHONE,)), Claim(BOB, YES, 3)])
    return {"ada": _sure(found[1]), "bob": _sure(found[2]), "phone": _sure(found[0])}


def _sure(person: Person | None) -> Person:
    assert person is not None
    return person


def messages(people: dict[str, Person]) -> list[dict[str, Any]]:
    """Two good events and a bad one of each."""
    return [
        make_message(event_id=f"{name}-{n}", subject_id=person.subject_id, items=[item], page_path=f"/{name}-page")
        for name, person in people.items()
        for n, item in enumerate(({"item_id": "item-1", "quantity": None, "price": 1.0},
                                  {"item_id": "item-2", "quantity": None, "price": 2.0},
                                  {"item_id": None, "quantity": None, "price": 2.0}))
    ]  # fmt: skip


def ingest(spark: SparkSession, settings: Settings, sent: list[dict[str, Any]], query: str, offset: int = 0) -> None:
    checked = flag_violations(
        decode_events(kafka_rows(spark, sent, first_offset=offset)), read_suite(settings.suite_path("events"))
    )
    write_events(checked, 0, settings=settings, query=query)


def fill(spark: SparkSession, settings: Settings, people: dict[str, Person]) -> None:
    """Put both people into every personal store."""
    delta_tables.ensure_tables(spark, settings)
    ingest(spark, settings, messages(people), ingest_events.QUERY)
    for table, schema in {name: TABLES[name] for name in personal_tables()}.items():
        if table in {"events", "quarantine"}:
            continue
        named = spark.createDataFrame([(person.subject_id,) for person in people.values()], "subject_id string")
        columns = [F.col("subject_id") if field.name == "subject_id" else _value(field) for field in schema]
        rows = spark.createDataFrame(named.select(*columns).collect(), schema).coalesce(1)
        rows.write.format("delta").mode("append").save(delta_tables.table_path(settings, table))
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for message in messages(people):
        producer.send(
            settings.kafka.events_topic, key=message["subject_id"].encode(), value=json.dumps(message).encode()
        )
    producer.flush()
    producer.close()
    make_champion(settings, "v1")
    list_of(settings, people)


def _value(field: StructField) -> Column:
    """Return something of the field's type; null where it may be."""
    kind = field.dataType.simpleString()
    if field.nullable:
        value = F.lit(None)
    elif kind.startswith("array"):
        value = F.array()
    else:
        value = F.lit("2026-11-24" if kind in {"timestamp", "date"} else "1")
    return value.cast(field.dataType).alias(field.name)


def list_of(settings: Settings, people: dict[str, Person], items: tuple[str, ...] = ("item-1",)) -> None:
    save_model(make_model(items=30), model_folder(settings, "v1"))
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, "v1")
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
    store.write_popular(recommender.popular(1))
    store.switch_version("v1")


def fingerprint(spark: SparkSession, settings: Settings, person: Person) -> dict[str, Any]:
    """Hash of a person's rows by table, and their keys in Redis."""
    found: dict[str, Any] = {}
    for table in personal_tables():
        rows = delta_tables.read_table(spark, settings, table)
        if "subject_id" in rows.columns:
            mine = rows.where(F.col("subject_id") == person.subject_id)
        else:
            mine = rows.where(F.instr(F.col("raw_value").cast("string"), person.subject_id) > 0)
        found[table] = sorted(str(row) for row in mine.selectExpr("hash(struct(*))").collect())
    found["redis"] = RedisEraser(settings.redis).values_of([person.subject_id])
    return found


def test_withdrawal_empties_the_list_and_a_new_grant_begins_anew(erasing: Settings, people: dict[str, Person]) -> None:
    list_of(erasing, people)
    with TestClient(create_app(erasing)) as api:

        def source(user: RawId) -> str:
            return str(api.get(f"/v1/recommendations/{user.text}").json()["source"])

        assert (source(ADA), source(BOB)) == ("fold_in", "fold_in")
        begun = time.monotonic()
        withdrawals.change_consent(erasing, ADA, {"personalisation": False}, source="api")
        while source(ADA) != "popular":
            assert time.monotonic() - begun < 5
            time.sleep(0.05)
        cache = redis_store.connect(erasing.redis)
        kept_out._kept_out.cache_clear()  # noqa: SLF001 - as a second later
        list_of(erasing, people, ("item-1", "item-2"))  # a replay
        history = cache.read_histories([people["ada"].subject_id])[0]
        assert (len(history.records), source(ADA), source(BOB)) == (0, "popular", "fold_in")

        withdrawals.change_consent(erasing, ADA, {"personalisation": True}, source="api")
        kept_out._kept_out.cache_clear()  # noqa: SLF001
        assert cache.read_histories([people["ada"].subject_id])[0].revision == 0
        until = open_kept_out(erasing).until_ms([people["ada"].subject_id], "personalisation")
        assert 0 < until[0] < kept_out.FOR_EVER


def test_fence_stops_a_batch_that_was_being_computed(erasing: Settings, people: dict[str, Person]) -> None:
    list_of(erasing, people)
    before = open_kept_out(erasing)
    assert before.is_empty

    withdrawals.change_consent(erasing, ADA, {"personalisation": False}, source="api")
    list_of(erasing, people, ("item-9",))  # this process has not read the withdrawal yet
    recompute_here({people["ada"].subject_id: Reason("left carts", "cart_abandonment", ("item-3",))}, settings=erasing)

    assert before.is_empty
    assert redis_store.connect(erasing.redis).read_list(people["ada"].subject_id)[1] is None
    assert len(redis_store.connect(erasing.redis).read_histories([people["ada"].subject_id])[0].records) == 0


def test_withdrawn_people_are_in_no_table_and_no_training_set_when_events_are_replayed(
    spark: SparkSession, erasing: Settings, people: dict[str, Person]
) -> None:
    delta_tables.ensure_tables(spark, erasing)
    both = {name: people[name] for name in ("ada", "bob")}
    ingest(spark, erasing, messages(both), "before")
    store = open_subject_store(erasing)
    store.admit(
        [Claim(ADA, {"personalisation": False}, 10**14, "api"), Claim(BOB, {"analytics": False}, 10**14, "api")]
    )
    kept_out._kept_out.cache_clear()  # noqa: SLF001

    ingest(spark, erasing, [m | {"event_id": m["event_id"] + "-again"} for m in messages(both)], "after", 100)

    events = delta_tables.read_table(spark, erasing, "events").where("event_id LIKE '%-again'").collect()
    assert {(row.subject_id, tuple(row.consent)) for row in events} == {(people["ada"].subject_id, ("analytics",))}
    refused = delta_tables.read_table(spark, erasing, "quarantine").where("query = 'after'").collect()
    assert {people["bob"].subject_id.encode() in bytes(row.raw_value) for row in refused} == {False}
    assert erase_subjects.remove_withdrawn(spark, erasing) == 1
    assert erase_subjects.remove_withdrawn(spark, erasing) == 0
    left = fingerprint(spark, erasing, people["bob"])
    assert not any(rows for table, rows in left.items() if table != "redis")
    with pytest.MonkeyPatch.context() as patch:
        asked: list[pa.Table] = []

        def note(weights: pa.Table, *_: Any, **__: Any) -> Any:
            asked.append(weights)
            raise Killed

        patch.setattr(train_model, "train", note)
        with pytest.raises(Killed):
            train_model.train_champion(spark, erasing)
    trained_on = set(asked[0]["subject_id"].to_pylist())
    assert people["ada"].subject_id not in trained_on


def test_erasure_killed_at_every_step_leaves_nothing_and_touches_nobody_else(
    spark: SparkSession, erasing: Settings, people: dict[str, Person], monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"ada": people["ada"], "bob": people["bob"]}
    fill(spark, erasing, both)
    bob = fingerprint(spark, erasing, people["bob"])
    assert all(bob.values())
    assert all(fingerprint(spark, erasing, people["ada"]).values())
    exported = list(export_rows(spark, erasing, ADA))
    assert {row["store"] for row in exported} >= {
        *personal_tables(),
        "consents",
        "identifiers",
        "redis",
        "redis history",
    }
    assert people["bob"].subject_id not in json.dumps(exported, default=str)
    lookup = open_subject_store(erasing).keys.lookup
    markers = {"canary": [ADA.text, PHONE.text, lookup(ADA), lookup(PHONE), people["ada"].subject_id],
               "control": [BOB.text, lookup(BOB), people["bob"].subject_id]}  # fmt: skip
    before = subject_audit.audit(erasing, **markers)
    assert all(before["stores"][store]["canary"] for store in ("tables", "redis", "kafka", "subject_store"))

    with TestClient(create_app(erasing)) as api:
        assert api.get(f"/v1/recommendations/{ADA.text}").json()["source"] == "fold_in"
        begun = time.monotonic()
        request = _sure_erasure(erasure.begin(erasing, ADA))
        while api.get(f"/v1/recommendations/{ADA.text}").json()["source"] != "popular":
            assert time.monotonic() - begun < 5
            time.sleep(0.05)
    assert erasure.begin(erasing, ADA) is None
    kept_out._kept_out.cache_clear()  # noqa: SLF001 - as a second later

    kills = advance_killed_at_every_step(spark, erasing, monkeypatch)
    assert kills >= 2 * len(personal_tables())

    assert fingerprint(spark, erasing, people["bob"]) == bob
    assert not any(fingerprint(spark, erasing, people["ada"]).values())
    replay_is_kept_out(spark, erasing, both)
    assert fingerprint(spark, erasing, people["bob"])["events"] == bob["events"]

    receipts = ErasureStore(open_subject_store(erasing)).receipts(request.erasure_id)
    assert {store for store, receipt in receipts.items() if receipt.clean_ms is None} == {"kafka", "models"}
    let_time_pass(erasing)
    assert erase_subjects.erase_pending(spark, erasing) == 0
    assert ErasureStore(open_subject_store(erasing)).read(request.erasure_id)[0].subject_ids == []
    told = subject_audit.audit(erasing, **markers)
    assert (told["erasure_hits"], told["is_void"]) == (0, False), told
    assert not append_only_file_has(erasing, people["ada"].subject_id)
    assert append_only_file_has(erasing, people["bob"].subject_id)


def append_only_file_has(settings: Settings, subject_id: str) -> bool:
    client = redis.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    folder = Path(str(client.config_get("dir")["dir"]))
    return any(subject_id.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def _sure_erasure(begun: Erasure | None) -> Erasure:
    assert begun is not None
    return begun


def advance_killed_at_every_step(spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """Die after each receipt, and before those of the first table and of Redis, until a run gets through."""
    note, died = ErasureStore.note, set()

    def dying(self: ErasureStore, erasure_id: str, receipt: Receipt) -> None:
        step = (receipt.store, receipt.removed_ms is None, receipt.clean_ms is None)
        if receipt.store in {"events", "redis"} and ("before", *step) not in died:
            died.add(("before", *step))
            raise Killed
        note(self, erasure_id, receipt)
        if ("after", *step) not in died:
            died.add(("after", *step))
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ErasureStore, "note", dying)
        while True:
            try:
                erase_subjects.erase_pending(spark, settings)
            except Killed:
                continue
            return len(died)


def replay_is_kept_out(spark: SparkSession, settings: Settings, both: dict[str, Person]) -> None:
    """Read everything again, as after a reset checkpoint, and import an old file again (CP13)."""
    again = [m | {"event_id": f"replayed-{m['event_id']}"} for m in messages({"ada": both["ada"]})]
    ingest(spark, settings, again, "replay", 500)
    ledger = delta_tables.read_table(spark, settings, "ledger").where("query = 'replay'").collect()
    assert [(row.consumed, row.no_consent) for row in ledger] == [(3, 3)]
    list_of(settings, {"ada": both["ada"]})
    assert not any(fingerprint(spark, settings, both["ada"]).values())
    store: SubjectStore = open_subject_store(settings)
    assert store.admit([Claim(ADA, YES, 5, "import"), Claim(PHONE, YES, 5)]) == [None, None]


def let_time_pass(settings: Settings) -> None:
    """Do what retention and the nightly training do: old messages go, a model without the person comes."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    topic = settings.kafka.events_topic
    admin.delete_records({TopicPartition(topic, n): -1 for n in range(2)})
    admin.close()
    make_champion(settings, "v2")


def make_champion(settings: Settings, version: str) -> None:
    client = model_registry.open_registry(settings)
    model = make_model(items=30, version=version)
    registered = model_registry.register_model(client, settings, model, parameters={}, metrics={})
    model_registry.set_champion(client, settings, registered)


def test_session_state_names_people_with_an_open_session(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)
    events = settings.state_dir / "arriving"
    rows = select_events(decode_events(kafka_rows(spark, [make_message(subject_id=subject("ada"))])))
    rows.write.json(str(events))
    arriving = spark.readStream.schema(rows.schema).json(str(events))
    sessions = sessionize(arriving, gap_seconds=1800, watermark_minutes=10, shards=2)
    checkpoint = settings.state_dir / "checkpoints" / "build_sessions"
    query = sessions.writeStream.format("noop").option("checkpointLocation", str(checkpoint)).start()
    query.processAllAvailable()
    query.stop()

    assert subjects_in_state(spark, checkpoint) == {subject("ada")}
