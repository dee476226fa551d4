"""Test data with defaults: name only the field a test is about."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.types import (
    BinaryType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)

from afterclick.blend import single_source_blend
from afterclick.event_logs import EventLog, visible_before
from afterclick.factor_training import FactorTrainer
from afterclick.list_records import TopList
from afterclick.mixtures import Mixture, Mixtures
from afterclick.model_sources import ModelSources
from afterclick.models import Model
from afterclick.prequential import Replay
from afterclick.setting_sections import ModelSettings
from afterclick.settings import Settings
from afterclick.source_rules import SourceRules

NOW = datetime(2026, 11, 24, 12, 0, 0, tzinfo=UTC)
KEY = b"a-test-key-of-at-least-32-bytes!"

# The raw columns of Spark's Kafka source.
KAFKA_MESSAGE = StructType(
    [
        StructField("key", BinaryType()),
        StructField("value", BinaryType()),
        StructField("topic", StringType(), nullable=False),
        StructField("partition", IntegerType(), nullable=False),
        StructField("offset", LongType(), nullable=False),
        StructField("timestamp", TimestampType(), nullable=False),
    ]
)


def subject(name: str) -> str:
    """Something like the pseudonym of a test person; who needs the real one asks the subject store."""
    return hashlib.sha256(name.encode()).hexdigest()[:32]


def variables_of(live: Settings) -> dict[str, str]:
    """Environment variables by which another process finds the servers and the state of a test's installation."""
    return {
        "AFTERCLICK_STATE_DIR": str(live.state_dir),
        "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": live.kafka.bootstrap_servers,
        "AFTERCLICK_REDIS__URL": live.redis.url.get_secret_value(),
        "AFTERCLICK_REDIS__PREFIX": live.redis.prefix,
        "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": KEY.decode(),
    }


def make_message(**overrides: Any) -> dict[str, Any]:
    """One well-formed view as the collector writes it (schemas.EVENT_MESSAGE)."""
    message: dict[str, Any] = {
        "event_id": "event-1",
        "event_type": "view",
        "event_name": "Product Viewed",
        "subject_id": subject("ada"),
        "event_at": "2026-11-24T11:59:59.000Z",
        "received_at": "2026-11-24T12:00:00.000Z",
        "items": [{"item_id": "mug", "quantity": None, "price": None}],
        "order_id": None,
        "currency": None,
        "page_path": "/mug",
        "consent": ["analytics", "personalisation"],
        "source": "web",
        "rejected_reason": None,
    }
    return message | overrides


def as_value(message: dict[str, Any] | bytes | None) -> bytes | None:
    """Kafka value of a message; bytes and None pass through, for poison."""
    return json.dumps(message).encode() if isinstance(message, dict) else message


def kafka_rows(
    spark: SparkSession, messages: Iterable[dict[str, Any] | bytes | None], *, first_offset: int = 0
) -> DataFrame:
    """Messages as Spark's Kafka source hands them over, one partition, consecutive offsets."""
    rows = [
        (None, None if value is None else bytearray(value), "events", 0, first_offset + number, NOW)
        for number, value in enumerate(map(as_value, messages))
    ]
    return spark.createDataFrame(rows, KAFKA_MESSAGE)


def rows_of(spark: SparkSession, schema: StructType, rows: Iterable[dict[str, Any]]) -> DataFrame:
    """Rows of a schema; a column that a row does not name is null."""
    return spark.createDataFrame([tuple(row.get(name) for name in schema.names) for row in rows], schema)


def make_model(*, items: int = 5, rank: int = 4, seed: int = 1, **overrides: Any) -> Model:
    """Build a model over item-0, item-1, ... with random factors; item-0 is the most popular."""
    fields: dict[str, Any] = {
        "version": "v1",
        "item_ids": np.array([f"item-{number}" for number in range(items)]),
        "item_factors": np.random.default_rng(seed).normal(size=(items, rank)).astype(np.float32),
        "popularity": np.arange(items, 0, -1, dtype=np.float64),
        "regularization": 1.0,
        "alpha": 1.0,
        "event_weights": {"view": 1.0, "cart": 3.0, "purchase": 5.0},
        "trained_at": "2026-11-24T12:00:00.000+00:00",
    }
    return Model(**(fields | overrides))


def places(top: TopList) -> list[tuple[str, str]]:
    """Return item and reason of each place: what a list keeps exactly when it is stored."""
    return [(item.item_id, item.reason) for item in top.items]


def make_replay(log: EventLog, **overrides: Any) -> Replay:
    """Build a replay of a log, event by event, with a small model."""
    small = ModelSettings(tracking_uri="", artifact_root="", rank=4, iterations=3)  # type: ignore[arg-type]
    fields: dict[str, Any] = {
        "log": log,
        "visible": visible_before(log, batching="event"),
        "rules": SourceRules(),
        "repeats": True,
        "train": FactorTrainer(log, small, threads=1),
    }
    return Replay(**(fields | overrides))


def make_sources(*, items: int = 5, gap_ms: int = 1_800_000) -> ModelSources:
    """Build the sources of `make_model`: fold-in alone in a visit, what the person had before in the next one."""
    nobody, nothing = np.full((items, 1), -1, np.int32), np.zeros((items, 1), np.float32)
    fold_in, frequency = (Mixture(single_source_blend(name), SourceRules()) for name in ("fold_in", "frequency"))
    mixtures = Mixtures(fold_in, frequency, gap_ms)
    return ModelSources(nobody, nothing, np.zeros(items), np.zeros(items), np.ones(items), mixtures)


def make_session(**overrides: Any) -> dict[str, Any]:
    """Return one closed session of three minutes with one view (schemas.SESSION)."""
    session: dict[str, Any] = {
        "session_id": "session-1",
        "subject_id": subject("ada"),
        "started_at": NOW,
        "ended_at": NOW + timedelta(minutes=3),
        "duration_ms": 180_000,
        "event_count": 2,
        "view_count": 1,
        "cart_count": 0,
        "removal_count": 0,
        "purchase_count": 0,
        "page_count": 1,
        "estimated_event_count": 2.0,
        "item_count": 1,
        "uncounted_items": 0,
        "cart_value": 0.0,
        "order_value": 0.0,
        "dwell_ms": 0,
        "scroll_percent": None,
        "entry_page": "/mug",
        "campaign": None,
        "device": "mobile",
    }
    return session | overrides
