"""Is anything left of an erased person? Every store is searched for random markers, in every coding we know of.

A control person who was not erased is searched for in the same way: a store in which the control is not found has not
been searched, and the audit is void.
"""

import base64
import gzip
import re
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zlib import error as ZlibError

import msgspec
import pyarrow.parquet as pq
import redis
import sqlalchemy as sa
from kafka import KafkaConsumer, TopicPartition

from afterclick.connectors.subject_store import open_subject_store
from afterclick.connectors.subject_tables import METADATA
from afterclick.kafka_security import client_options
from afterclick.settings import Settings

_DECODABLE = (OSError, EOFError, ValueError, ZlibError, zipfile.BadZipFile, msgspec.DecodeError)


def encodings(marker: str) -> set[bytes]:
    """Return how a marker may be written: raw, hexadecimal, URL-encoded, and base64 at each of three alignments."""
    raw = marker.encode()
    found = {raw, raw.hex().encode(), raw.hex().upper().encode()} | {
        quote(marker).encode(),
        quote(marker, safe="").encode(),
    }
    found.add("".join(f"%{byte:02X}" for byte in raw).encode())
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + raw)
        sure = coded[-(-shift * 8 // 6) : (shift + len(raw)) * 8 // 6]  # characters that depend on the marker alone
        found |= {sure, sure.translate(bytes.maketrans(b"+/", b"-_"))}
    return found


def audit(settings: Settings, canary: Iterable[str], control: Iterable[str]) -> dict[str, Any]:
    """Search every store; `erasure_hits` counts places with the canary, and `is_void` says that a search proves nothing.

    Parameters
    ----------
    canary, control
        Markers of the erased and of the other person, unlikely to occur by chance.
    """
    patterns = {"canary": _pattern(canary), "control": _pattern(control)}
    hits: dict[str, Counter[str]] = {}
    for store, place, content in _contents(settings):
        counts = hits.setdefault(store, Counter())
        for who, pattern in patterns.items():
            if pattern.search(content) or pattern.search(place.encode()):
                counts[who] += 1
    return {
        "erasure_hits": sum(counts["canary"] for counts in hits.values()),
        "is_void": any(hits.get(store, Counter())["control"] == 0 for store in ("tables", "redis", "subject_store")),
        "stores": {store: dict(counts) for store, counts in hits.items()},
    }


def _pattern(markers: Iterable[str]) -> re.Pattern[bytes]:
    codings = sorted({coding for marker in markers for coding in encodings(marker)})
    return re.compile(b"|".join(map(re.escape, codings)))


def _contents(settings: Settings) -> Iterator[tuple[str, str, bytes]]:
    """Yield store, place and content: raw bytes first, then decoded."""
    folders = {
        "tables": Path(settings.storage.tables),
        "checkpoints": Path(settings.storage.checkpoints),
        "models": Path(settings.storage.models),
    }
    if settings.environment == "local":
        folders |= {n: settings.state_dir / n for n in ("valkey", "kafka", "logs", "mlartifacts")}
        yield from (("mlflow", str(file), file.read_bytes()) for file in settings.state_dir.glob("mlflow.db*"))
    for store, folder in folders.items():
        for file in folder.rglob("*"):
            if file.is_file():
                yield from ((store, str(file), content) for content in _file_contents(file))
    yield from _database(settings)
    yield from _cache(settings)
    for topic in (settings.kafka.events_topic, settings.triggers.topic):
        yield from _topic(settings, topic)


def _file_contents(file: Path) -> Iterator[bytes]:
    try:
        content = file.read_bytes()
    except OSError:  # a live store removes files meanwhile
        return
    yield content
    try:
        if file.suffix == ".parquet":
            yield repr(pq.read_table(file, partitioning=None).to_pylist()).encode()
        elif content[:2] == b"\x1f\x8b":
            yield gzip.decompress(content)
        elif content[:2] == b"PK":
            with zipfile.ZipFile(file) as archive:
                yield from (archive.read(name) for name in archive.namelist())
    except _DECODABLE:
        return


def _database(settings: Settings) -> Iterator[tuple[str, str, bytes]]:
    with open_subject_store(settings).reading() as connection:
        for table in METADATA.sorted_tables:
            for row in connection.execute(sa.select(table)):
                yield "subject_store", table.name, repr(tuple(row)).encode()
    url = settings.privacy.subject_store.get_secret_value()
    if url.startswith("sqlite:///"):
        file = Path(url.removeprefix("sqlite:///"))
        yield from (("subject_store", str(one), one.read_bytes()) for one in file.parent.glob(f"{file.name}*"))


def _cache(settings: Settings) -> Iterator[tuple[str, str, bytes]]:
    client = redis.Redis.from_url(settings.redis.url.get_secret_value(), protocol=2)
    for key in client.scan_iter(match=f"{settings.redis.prefix}*", count=5_000):
        if client.type(key) == b"set":
            members: Any = client.smembers(key)
            yield "redis", key.decode(), b" ".join(members)
            continue
        value: Any = client.get(key)
        yield "redis", key.decode(), value or b""
        try:
            yield "redis", key.decode(), repr(msgspec.msgpack.decode(value or b"")).encode()
        except _DECODABLE:
            continue


def _topic(settings: Settings, topic: str) -> Iterator[tuple[str, str, bytes]]:
    consumer = KafkaConsumer(**client_options(settings.kafka), consumer_timeout_ms=3_000)
    try:
        positions = [TopicPartition(topic, n) for n in consumer.partitions_for_topic(topic) or ()]
        ends: Mapping[TopicPartition, int] = consumer.end_offsets(positions)
        begins: Mapping[TopicPartition, int] = consumer.beginning_offsets(positions)
        wanted = [position for position in positions if begins[position] < ends[position]]
        if not wanted:
            return
        consumer.assign(wanted)
        consumer.seek_to_beginning(*wanted)
        left = {position.partition: ends[position] for position in wanted}
        while left:
            record = next(consumer)
            yield "kafka", f"{record.partition}/{record.offset}", (record.key or b"") + b"\n" + (record.value or b"")
            if record.offset + 1 >= left.get(record.partition, 0):
                left.pop(record.partition, None)
    finally:
        consumer.close()
