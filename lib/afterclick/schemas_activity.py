"""The shape of recent activity in tables."""

from pyspark.sql.types import DoubleType, LongType, StringType, TimestampType

from afterclick.schemas_fates import fields as schema

# How often something was viewed, bought and so on of late, as of `counted_at`. `kind` is ``person``, ``item`` or
# ``category``; `name` the pseudonym, item id or category. Unique: (`kind`, `name`, `event_type`); replaced as a whole.
# `events_decayed` is the sum of ``2 ** -(age / 2 h)`` over the last 24 h (`activity_rules.count_recent`).
ACTIVITY = schema(
    ("kind", StringType(), False),
    ("name", StringType(), False),
    ("event_type", StringType(), False),
    ("events_30m", LongType(), False),
    ("events_2h", LongType(), False),
    ("events_24h", LongType(), False),
    ("events_decayed", DoubleType(), False),
    ("counted_at", TimestampType(), False),
)
