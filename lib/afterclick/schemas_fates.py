"""The shape of what is said about messages: where they are kept aside, and the account of every batch.

`schemas` holds the events themselves and registers all tables.
"""

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    IntegerType,
    LongType,
    StringType,
    StructField,
    StructType,
    TimestampType,
)


def fields(*fields: tuple[str, object, bool]) -> StructType:
    """Return a schema of (name, type, may be null)."""
    return StructType([StructField(name, kind, nullable) for name, kind, nullable in fields])  # type: ignore[arg-type]


# How an accepted event came into its table. `payload_hash` covers all that the event says but its times and consent
# (`event_fates.payload_hash`); `is_id_reused`: an event with the same id and another payload came before. `query`,
# `generation` and `batch_id` name the ledger's row that counts it.
ORIGIN = (
    ("payload_hash", LongType(), True),
    ("is_id_reused", BooleanType(), True),
    ("query", StringType(), True),
    ("generation", StringType(), True),
    ("batch_id", LongType(), True),
)

# One refused message with every reason and the expectation behind it. Unique: (`topic`, `kafka_partition`,
# `kafka_offset`) for messages from Kafka and for events refused by `afterclick import` alike (see EVENT).
# `replayed_at` and `replay_fate` are null until a repaired copy was taken in (`jobs/replay_quarantine.py`).
QUARANTINED_EVENT = fields(
    ("reasons", ArrayType(StringType()), False),
    ("failed_expectations", ArrayType(StringType()), True),
    ("event_id", StringType(), True),
    ("received_at", TimestampType(), True),
    ("topic", StringType(), True),
    ("kafka_partition", IntegerType(), True),
    ("kafka_offset", LongType(), True),
    ("kafka_at", TimestampType(), True),
    ("raw_key", BinaryType(), True),
    ("raw_value", BinaryType(), True),
    ("query", StringType(), False),
    ("generation", StringType(), True),
    ("batch_id", LongType(), False),
    ("quarantined_at", TimestampType(), False),
    ("replayed_at", TimestampType(), True),
    ("replay_fate", StringType(), True),
)

# What a batch read from one Kafka partition: offsets from `from_offset` up to before `until_offset`;
# `newest_event_at` is the largest time of its valid events, null where there is none.
# The others are never null; Delta cannot promise that inside an array.
OFFSET_RANGE = fields(
    ("topic", StringType(), True),
    ("kafka_partition", IntegerType(), True),
    ("from_offset", LongType(), True),
    ("until_offset", LongType(), True),
    ("newest_event_at", TimestampType(), True),
)

# Where every consumed message of one micro-batch went. Unique: (`query`, `generation`, `batch_id`).
# `consumed` = `events` + `late_events` + `quarantine` + `no_consent` + `duplicates`. `reused_ids` of the accepted ones
# have an id that another payload had before. `offsets` is null for messages that do not come from Kafka.
LEDGER = fields(
    ("query", StringType(), False),
    ("generation", StringType(), False),
    ("batch_id", LongType(), False),
    ("consumed", LongType(), False),
    ("events", LongType(), False),
    ("late_events", LongType(), False),
    ("quarantine", LongType(), False),
    ("no_consent", LongType(), False),
    ("duplicates", LongType(), False),
    ("reused_ids", LongType(), False),
    ("offsets", ArrayType(OFFSET_RANGE), True),
    ("first_kafka_at", TimestampType(), True),
    ("last_kafka_at", TimestampType(), True),
    ("written_at", TimestampType(), False),
)

# How many rows of one ledger batch a removal took from a table. Never null; Delta cannot promise that inside an array.
REMOVED_FROM_BATCH = fields(
    ("query", StringType(), True),
    ("generation", StringType(), True),
    ("batch_id", LongType(), True),
    ("removed", LongType(), True),
)

# One lawful deletion from a table that the ledger counts (`connectors.removals`). Unique: `removal_id`, which the
# deletion's commit carries as its ``userMetadata``; that commit is later than version `after_version`. `batches` is null
# until the commit was counted: the job may have been ended in between, and the next look counts it.
REMOVAL = fields(
    ("removal_id", StringType(), False),
    ("table", StringType(), False),
    ("reason", StringType(), False),
    ("after_version", LongType(), False),
    ("begun_at", TimestampType(), False),
    ("batches", ArrayType(REMOVED_FROM_BATCH), True),
)
