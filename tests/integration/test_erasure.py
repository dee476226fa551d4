"""A person leaves every store, whatever is killed on the way, and others stay as they are."""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import reduce
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest
import redis
from fastapi.testclient import TestClient
from kafka import KafkaProducer, TopicPartition
from kafka.admin import KafkaAdminClient
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StructField, StructType

from afterclick import erasure, subject_audit
from afterclick.connectors import delta_tables, kept_out, model_registry, redis_erasure, redis_store
from afterclick.connectors.accepted_events import read_accepted
from afterclick.connectors.activity_store import ActivityStore
from afterclick.connectors.delta_erasure import personal_tables, rows_of
from afterclick.connectors.erasure_store import ErasureStore, Receipt
from afterclick.connectors.kept_out import keep_allowed, open_kept_out
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.session_state import subjects_in_state
from afterclick.connectors.session_store import OpenSession, SessionStore
from afterclick.connectors.subject_store import SubjectStore, open_subject_store
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.consent_rules import Claim, Person
from afterclick.events import decode_events, select_events
from afterclick.interactions import select_interactions
from afterclick.local.kafka import create_topic
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.quality import flag_violations, read_suite
from afterclick.recommendations import update_lists
from afterclick.schemas import TABLES
from afterclick.schemas_sessions import SESSION_CHANGE
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.session_changes import drop_kept_out
from afterclick.sessions import read_operator, sessionize
from afterclick.settings import Settings, load_settings
from afterclick.subject_export import export_rows
from afterclick.vocabulary import Purpose
from builders import kafka_rows, make_message, make_model, subject
from conftest import installation_variables
from jobs import erase_subjects, ingest_events
from jobs.enrich_events import write_enriched
from jobs.ingest_events import write_events
from nightly import NIGHTLY

pytestmark = pytest.mark.timeout(900)
NOW_MS = 1_790_000_000_000
YES = {"analytics": True, "personalisation": True}
ADA, EVE, BOB = (RawId("user", f"{name}-{secrets.token_hex(12)}") for name in ("ada", "eve", "bob"))
PHONE = RawId("anonymous", f"phone-{secrets.token_hex(12)}")


_SESSION: dict[str, Any] = dict.fromkeys(OpenSession.__struct_fields__[2:13], 0) | {"session_id": "s"}


class Killed(BaseException):
    """What a kill looks like from inside."""


@pytest.fixture
def variables(live: Settings, stack: dict[str, str], tmp_path: Path) -> dict[str, str]:
    """Real servers with the shortest retention, in the environment of a process."""
    create_topic(stack["kafka"], f"{live.kafka.events_topic}-out", 1)
    names = {
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": stack["kafka"],
        "AFTERCLICK_KAFKA__EVENTS_TOPIC": live.kafka.events_topic,
        "AFTERCLICK_TRIGGERS__TOPIC": f"{live.kafka.events_topic}-out",
        "AFTERCLICK_REDIS__URL": stack["redis"],
        "AFTERCLICK_REDIS__PREFIX": live.redis.prefix,
        "AFTERCLICK_PRIVACY__VACUUM_HOURS": "0",
        "AFTERCLICK_MODEL__RANK": "2",
    }
    return installation_variables(tmp_path / "state", **names)


@pytest.fixture
def erasing(variables: dict[str, str], _empty_tables: Path) -> Settings:
    """Return settings with empty tables; the caches of this process start empty."""
    kept_out._kept_out.cache_clear()  # noqa: SLF001
    settings = load_settings("local", variables=variables)
    shutil.copytree(_empty_tables, settings.storage.tables)
    return settings


@pytest.fixture
def people(erasing: Settings) -> dict[str, Person]:
    """Ada, who was anonymous first, Eve, and Bob, who stays."""
    claims = [Claim(PHONE, YES, 1), Claim(ADA, YES, 2, also=(PHONE,)), Claim(EVE, YES, 3), Claim(BOB, YES, 3)]
    found = open_subject_store(erasing).admit(claims)
    return {"ada": _sure(found[1]), "eve": _sure(found[2]), "bob": _sure(found[3])}


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
    write_events(checked, 0, settings=settings, clock=None, query=query)


def fill(spark: SparkSession, settings: Settings, people: dict[str, Person]) -> None:
    """Put everybody into every personal store."""
    ingest(spark, settings, messages(people), ingest_events.QUERY)
    subject_ids = [person.subject_id for person in people.values()]
    named = spark.createDataFrame([(subject_id,) for subject_id in subject_ids], "subject_id string")
    theirs = {"subject_id": F.col("subject_id"), "row": F.to_json(F.struct("subject_id"))}
    activity = {"kind": F.lit("person"), "name": F.col("subject_id")}
    for table in set(personal_tables()) - {"events", "quarantine"}:
        chosen = activity if table == "activity" else theirs
        columns = [chosen.get(field.name, _value(field)).alias(field.name) for field in TABLES[table]]
        rows = spark.createDataFrame(named.select(*columns).collect(), TABLES[table]).coalesce(1)
        rows.write.format("delta").mode("append").save(delta_tables.table_path(settings, table))
    send(settings, people)
    make_champion(settings, "v1")
    VersionPointer(redis_store.connect(settings.redis)).announce("v9")
    list_of(settings, people)
    for subject_id in subject_ids:
        session = msgspec.convert(_SESSION | {"subject_id": subject_id}, OpenSession)
        SessionStore(settings.redis).write([session], [], ttl_seconds=900)
        ActivityStore(settings.redis).write("person", {subject_id: {}}, ttl_seconds=900)


def send(settings: Settings, people: dict[str, Person]) -> None:
    producer = KafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers)
    for message in messages(people):
        for topic in (settings.kafka.events_topic, settings.triggers.topic):
            producer.send(topic, key=message["subject_id"].encode(), value=json.dumps(message).encode())
    producer.flush()
    producer.close()


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


def fingerprint(spark: SparkSession, settings: Settings, person: Person) -> dict[str, Any]:
    """Hash of a person's rows by table, and their keys in Redis."""
    mine = spark.createDataFrame([(person.subject_id,)], "subject_id string")
    hashed = [
        rows_of(delta_tables.read_table(spark, settings, table), mine, table).select(
            F.lit(table).alias("table"), F.expr("hash(struct(t.*))").alias("hash")
        )
        for table in personal_tables()
    ]
    found: dict[str, Any] = {table: [] for table in personal_tables()}
    for row in sorted(reduce(DataFrame.unionByName, hashed).collect()):  # one job: many small ones cost time
        found[row.table].append(row.hash)
    store = redis_store.connect(settings.redis)
    found["redis"] = RedisEraser(settings.redis).values_of([person.subject_id])
    found["behind"] = person.subject_id in VersionPointer(store).behind("v9", 9)
    return found


def test_withdrawn_people_are_in_no_table_and_no_training_set_when_events_are_replayed(
    spark: SparkSession, erasing: Settings, people: dict[str, Person]
) -> None:
    ada, eve, bob = (people[name].subject_id for name in ("ada", "eve", "bob"))
    ingest(spark, erasing, messages(people), "before")
    mine = spark.createDataFrame([(ada,), (bob,)], "subject_id string")
    for table in ("customers", "triggers"):
        columns = [_value(field) if field.name != "subject_id" else F.col("subject_id") for field in TABLES[table]]
        rows = spark.createDataFrame(mine.select(*columns).collect(), TABLES[table])
        rows.write.format("delta").mode("append").save(delta_tables.table_path(erasing, table))
    no = [Claim(ADA, {"personalisation": False}, 10**14, "api"), Claim(EVE, {"analytics": False}, 10**14, "api")]
    open_subject_store(erasing).admit(no)
    kept_out._kept_out.cache_clear()  # noqa: SLF001

    ingest(spark, erasing, [m | {"event_id": m["event_id"] + "-again"} for m in messages(people)], "after", 100)

    events = delta_tables.read_table(spark, erasing, "events").where("query = 'after'").collect()
    both = ("analytics", "personalisation")
    assert {(row.subject_id, tuple(row.consent)) for row in events} == {(ada, ("analytics",)), (bob, both)}
    refused = delta_tables.read_table(spark, erasing, "quarantine").where("query = 'after'").collect()
    assert {who for who in (ada, eve, bob) for row in refused if who.encode() in bytes(row.raw_value)} == {ada, bob}
    ledger = delta_tables.read_table(spark, erasing, "ledger").where("query = 'after'").collect()
    assert [(row.consumed, row.events, row.quarantine, row.no_consent) for row in ledger] == [(9, 4, 2, 3)]
    accepted = read_accepted(spark, erasing)
    assert {row.subject_id for row in accepted.collect()} == {ada, bob}
    assert {row.subject_id for row in select_interactions(accepted).collect()} == {bob}

    removed = [erase_subjects.remove_withdrawn(spark, erasing, purpose) for purpose in Purpose]
    assert removed == [1, 2]  # Ada has two pseudonyms
    assert [erase_subjects.remove_withdrawn(spark, erasing, purpose) for purpose in Purpose] == [0, 0]
    assert not any(fingerprint(spark, erasing, people["eve"]).values())
    left = fingerprint(spark, erasing, people["ada"])
    assert (left["customers"], left["triggers"], bool(left["events"])) == ([], [], True)
    assert delta_tables.read_table(spark, erasing, "customers").where(F.col("subject_id") == bob).count() == 1


def test_what_streams_say_of_withdrawn_people_is_left_out(
    spark: SparkSession, erasing: Settings, people: dict[str, Person]
) -> None:
    at = datetime(2026, 11, 24, tzinfo=UTC)
    said = [(kind, person.subject_id, at) for kind in ("closed", "late", "trigger") for person in people.values()]
    names = ["change", "subject_id", "started_at"]
    rows = [tuple(dict(zip(names, one, strict=True)).get(name) for name in SESSION_CHANGE.names) for one in said]
    changes = spark.createDataFrame(rows, StructType([StructField(f.name, f.dataType) for f in SESSION_CHANGE]))
    no = [Claim(ADA, {"personalisation": False}, 10**14, "api"), Claim(EVE, {"analytics": False}, 10**14, "api")]
    open_subject_store(erasing).admit(no)
    kept_out._kept_out.cache_clear()  # noqa: SLF001

    kept = {(row.change, row.subject_id) for row in drop_kept_out(changes, erasing).collect()}

    ada, bob = people["ada"].subject_id, people["bob"].subject_id
    assert kept == {("closed", ada), ("late", ada), ("closed", bob), ("late", bob), ("trigger", bob)}
    assert drop_kept_out(changes, erasing).columns == changes.columns
    ingest(spark, erasing, messages(people), "before")
    events = delta_tables.read_table(spark, erasing, "events")
    write_enriched(events, 0, settings=erasing, joined={})
    enriched = delta_tables.read_table(spark, erasing, "enriched_items").select("subject_id").distinct().collect()
    assert {row.subject_id for row in enriched} == {ada, bob}


@NIGHTLY
def test_erasure_killed_at_every_step_leaves_nothing_and_touches_nobody_else(
    spark: SparkSession,
    erasing: Settings,
    variables: dict[str, str],
    people: dict[str, Person],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(spark, erasing, people)
    bob = fingerprint(spark, erasing, people["bob"])
    assert all(bob.values()), bob
    assert all(fingerprint(spark, erasing, people["ada"]).values())
    export_is_complete_and_only_theirs(spark, erasing, people)
    lookup = open_subject_store(erasing).keys.lookup
    markers = {
        "canary": [ADA.text, PHONE.text, EVE.text, lookup(ADA), lookup(PHONE), lookup(EVE)]
        + [people[name].subject_id for name in ("ada", "eve")],
        "control": [BOB.text, lookup(BOB), people["bob"].subject_id],
    }
    before = subject_audit.audit(erasing, **markers)
    assert all(before["stores"][store]["canary"] for store in ("tables", "redis", "kafka", "subject_store"))
    ada, eve = (answers_are_impersonal_within_seconds(erasing, who) for who in (ADA, EVE))
    assert erasure.begin(erasing, ADA) is None
    kept_out._kept_out.cache_clear()  # noqa: SLF001 - as a second later

    killed_by_signal(variables, "CP12")
    assert not any(fingerprint(spark, erasing, people["ada"])[table] for table in personal_tables())
    assert {"redis"} & set(receipts_of(erasing, ada)) == set()
    killed_by_signal(variables, "CP13")
    assert receipts_of(erasing, ada)["redis"].clean_ms
    monkeypatch.setattr(redis_erasure, "FENCE_SECONDS", 1)
    kills = advance_killed_at_every_step(spark, erasing, monkeypatch)
    assert kills >= 20
    fences_expire(erasing, people)

    assert fingerprint(spark, erasing, people["bob"]) == bob
    for name in ("ada", "eve"):
        assert not any(fingerprint(spark, erasing, people[name]).values())
    replay_is_kept_out(spark, erasing, people)
    assert fingerprint(spark, erasing, people["bob"])["events"] == bob["events"]
    for request in (ada, eve):
        waiting = {store for store, receipt in receipts_of(erasing, request).items() if receipt.clean_ms is None}
        assert waiting == {"kafka", "models"}
    let_time_pass(erasing, people)
    assert erase_subjects.erase_pending(spark, erasing) == 0
    assert [request.subject_ids for request in ErasureStore(open_subject_store(erasing)).read()] == [[], []]
    told = subject_audit.audit(erasing, **markers)
    assert (told["erasure_hits"], told["is_void"]) == (0, False), told
    assert not append_only_file_has(erasing, people["ada"].subject_id)
    assert append_only_file_has(erasing, people["bob"].subject_id)


def export_is_complete_and_only_theirs(spark: SparkSession, settings: Settings, people: dict[str, Person]) -> None:
    exported = list(export_rows(spark, settings, ADA))
    text = json.dumps(exported, default=str)
    assert {row["store"] for row in exported} == {
        *personal_tables(), "consents", "identifiers", "redis", "redis history",
    }  # fmt: skip
    assert [name for name, person in people.items() if person.subject_id in text] == ["ada"]
    mine = fingerprint(spark, settings, people["ada"])
    rows = Counter(row["store"] for row in exported)
    assert {table: rows[table] for table in personal_tables()} == {t: len(mine[t]) for t in personal_tables()}


def answers_are_impersonal_within_seconds(settings: Settings, who: RawId) -> str:
    """Begin an erasure and return its id."""
    with TestClient(create_app(settings)) as api:
        assert api.get(f"/v1/recommendations/{who.text}").json()["source"] == "fold_in"
        begun = time.monotonic()
        request = erasure.begin(settings, who)
        while api.get(f"/v1/recommendations/{who.text}").json()["source"] != "popular":
            assert time.monotonic() - begun < 5
            time.sleep(0.05)
    assert request is not None
    return request.erasure_id


def fences_expire(settings: Settings, people: dict[str, Person]) -> None:
    """Wait for what a run that began again has left in Redis: fences without content."""
    store = RedisEraser(settings.redis)
    names = [people[name].subject_id for name in ("ada", "eve")]
    deadline = time.monotonic() + 65
    while store.keys_of(names) and time.monotonic() < deadline:
        time.sleep(0.1)


def receipts_of(settings: Settings, erasure_id: str) -> Mapping[str, Receipt]:
    return ErasureStore(open_subject_store(settings)).receipts(erasure_id)


def killed_by_signal(variables: dict[str, str], point: str) -> None:
    """Run the job in a process of its own that dies at a crash point."""
    environment = {**os.environ, **variables, "AFTERCLICK_FAULTS__CRASH_POINT": point}  # noqa: TID251
    command = [sys.executable, "-m", "jobs.erase_subjects"]
    done = subprocess.run(  # noqa: S603
        command, env=environment, check=False, capture_output=True, text=True, timeout=180, start_new_session=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr[-2000:]


def append_only_file_has(settings: Settings, subject_id: str) -> bool:
    client = redis.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    folder = Path(str(client.config_get("dir")["dir"]))
    return any(subject_id.encode() in file.read_bytes() for file in folder.rglob("*") if file.is_file())


def advance_killed_at_every_step(spark: SparkSession, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> int:
    """Die before and after each note of a receipt, until a run gets through; of the tables the first and two more."""
    note = ErasureStore.note
    died: set[tuple[Any, ...]] = set()
    passed = set(personal_tables()) - {"events", "quarantine", "activity"}

    def dying(self: ErasureStore, erasure_id: str, receipt: Receipt) -> None:
        step = (receipt.store, receipt.removed_ms is None, receipt.clean_ms is None)
        for when in ("before", "after"):
            if receipt.store not in passed and (when, *step) not in died:
                died.add((when, *step))
                raise Killed
            if when == "before":
                note(self, erasure_id, receipt)

    with monkeypatch.context() as patch:
        patch.setattr(ErasureStore, "note", dying)
        while True:
            try:
                erase_subjects.erase_pending(spark, settings)
            except Killed:
                continue
            return len(died)


def replay_is_kept_out(spark: SparkSession, settings: Settings, people: dict[str, Person]) -> None:
    """Read everything again, as after a reset checkpoint, and import an old file again (CP13)."""
    again = [m | {"event_id": f"replayed-{m['event_id']}"} for m in messages({"ada": people["ada"]})]
    ingest(spark, settings, again, "replay", 500)
    ledger = delta_tables.read_table(spark, settings, "ledger").where("query = 'replay'").collect()
    assert [(row.consumed, row.no_consent) for row in ledger] == [(3, 3)]
    list_of(settings, {"ada": people["ada"]})
    assert not any(fingerprint(spark, settings, people["ada"]).values())
    store: SubjectStore = open_subject_store(settings)
    assert store.admit([Claim(ADA, YES, 5, "import"), Claim(PHONE, YES, 5)]) == [None, None]


def let_time_pass(settings: Settings, people: dict[str, Person]) -> None:
    """Do what retention and the nightly training do: old messages go, a model without the person comes."""
    admin = KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers)
    for topic, count in ((settings.kafka.events_topic, 2), (settings.triggers.topic, 1)):
        admin.delete_records({TopicPartition(topic, n): -1 for n in range(count)})
    admin.close()
    send(settings, {"bob": people["bob"]})
    make_champion(settings, "v2")


def make_champion(settings: Settings, version: str) -> None:
    client = model_registry.open_registry(settings)
    model = make_model(items=30, version=version)
    registered = model_registry.register_model(client, settings, model, parameters={}, metrics={})
    model_registry.set_champion(client, settings, registered)


def test_session_state_names_people_with_an_open_session(spark: SparkSession, settings: Settings) -> None:
    events = settings.state_dir / "arriving"
    rows = select_events(decode_events(kafka_rows(spark, [make_message(subject_id=subject("ada"))])))
    rows.write.json(str(events))
    arriving = spark.readStream.schema(rows.schema).json(str(events))
    sessions = sessionize(arriving, read_operator(settings))
    checkpoint = settings.state_dir / "checkpoints" / "build_sessions"
    query = sessions.writeStream.format("noop").option("checkpointLocation", str(checkpoint)).start()
    query.processAllAvailable()
    query.stop()

    assert subjects_in_state(spark, checkpoint) == {subject("ada")}
