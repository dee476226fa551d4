"""Everything that is kept of one person, as records; nobody else's."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec
import sqlalchemy as sa
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables, redis_store
from afterclick.connectors.delta_erasure import personal_tables, rows_of
from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.redis_store import RedisStore
from afterclick.connectors.subject_store import SubjectStore, open_subject_store
from afterclick.connectors.subject_tables import CONSENTS, IDENTIFIERS
from afterclick.errors import StoreUnavailableError
from afterclick.list_records import unpack_list
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings


def export_rows(spark: SparkSession, settings: Settings, identifier: RawId) -> Iterator[dict[str, Any]]:
    """Yield one record per entry of the subject store, table row and key of Redis; `store` says where it is from."""
    store = open_subject_store(settings)
    person = store.find(identifier)
    if person is None:
        return
    yield from _decisions(store, person.owner)
    subject_ids = store.subject_ids(person.owner)
    delta_tables.ensure_tables(spark, settings, personal_tables())  # no job may have written one yet
    people = spark.createDataFrame([(subject_id,) for subject_id in subject_ids], "subject_id string")
    for name in personal_tables():
        for line in rows_of(delta_tables.read_table(spark, settings, name), people, name).toJSON().collect():
            yield {"store": name, "record": json.loads(str(line))}
    yield from _cached(settings, subject_ids)


def _decisions(store: SubjectStore, owner: str) -> Iterator[dict[str, Any]]:
    wanted = {IDENTIFIERS: ("kind", "linked_ms"), CONSENTS: ("purpose", "granted", "at_ms", "source")}
    with store.reading() as connection:
        for table, names in wanted.items():
            for row in connection.execute(sa.select(table).where(table.c.owner == owner)):
                yield {"store": table.name, "record": {name: getattr(row, name) for name in names}}


def _cached(settings: Settings, subject_ids: list[str]) -> Iterator[dict[str, Any]]:
    store, prefix = redis_store.connect(settings.redis), settings.redis.prefix
    histories = store.read_histories(subject_ids)
    for subject_id, history in zip(subject_ids, histories, strict=True):
        for item_key, event_ms, kind in history.records.tolist():
            record = {"subject_id": subject_id, "item_key": item_key, "event_ms": event_ms, "event_type_code": kind}
            yield {"store": "redis history", "record": record}
    for key, value in RedisEraser(settings.redis).values_of(subject_ids).items():
        if key.startswith(f"{prefix}r:"):
            version = key.removeprefix(f"{prefix}r:").split(":")[0]
            yield {"store": "redis", "key": key, "record": _list_record(store, version, value)}
        elif not key.startswith(f"{prefix}h:"):
            yield {"store": "redis", "key": key, "record": msgspec.msgpack.decode(value)}


def _list_record(store: RedisStore, version: str, value: bytes) -> Any:
    try:
        return msgspec.to_builtins(unpack_list(value, version, store.read_items(version)))
    except StoreUnavailableError as error:  # of a version that is gone: nobody can read it any more
        return {"unreadable": str(error)}
