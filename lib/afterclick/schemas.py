"""The shape of every table and message, each named once.

Above each constant: what a row is, its key, what is unique and what may be null and why.
"""

from pyspark.sql.types import (
    ArrayType,
    BinaryType,
    BooleanType,
    DateType,
    DoubleType,
    IntegerType,
    LongType,
    StringType,
    StructType,
    TimestampType,
)

from afterclick.schemas_activity import ACTIVITY
from afterclick.schemas_dimensions import CUSTOMER, ENRICHED_ITEM, ITEM, REJECTED_ROW
from afterclick.schemas_fates import LEDGER, ORIGIN, QUARANTINED_EVENT, REMOVAL
from afterclick.schemas_fates import fields as _schema
from afterclick.schemas_relevance import PARITY, RELEVANCE
from afterclick.schemas_sessions import HOT_SUBJECT, SESSION, TRIGGER_FIRED, UNSESSIONED_EVENT
from afterclick.schemas_shown import SHOWN_LIST

# One product inside an event. `quantity` and `price` are null where the client did not say.
LINE_ITEM = _schema(
    ("item_id", StringType(), True),
    ("quantity", LongType(), True),
    ("price", DoubleType(), True),
)

# What an event says of the visit around it. `campaign` names what brought the visit, `device` its kind, `is_bot` whether
# its user agent is a known crawler's; of the referrer only the host and of the address only the network (/24, /48) are
# kept; `dwell_ms` and `scroll_percent` (0-100) say how long and how far a page was read; `form_id` which form was sent;
# `list_id` which list of the API it followed from (table `shown_lists`), by a token that we signed.
_VISIT = (
    ("campaign", StringType(), True),
    ("referrer_host", StringType(), True),
    ("device", StringType(), True),
    ("is_bot", BooleanType(), True),
    ("ip_prefix", StringType(), True),
    ("dwell_ms", LongType(), True),
    ("scroll_percent", DoubleType(), True),
    ("form_id", StringType(), True),
    ("list_id", StringType(), True),
)

# The JSON value of a message on the events topic, as the collector writes it; its key is
# `subject_id`. Everything may be null: other producers write to the topic too, so the suite checks.
# Timestamps are ISO 8601 UTC strings. `rejected_reason` is set on the stub of a message that the
# collector refused inside an otherwise good batch. `consent` lists the granted purposes.
EVENT_MESSAGE = _schema(
    ("event_id", StringType(), True),
    ("event_type", StringType(), True),
    ("event_name", StringType(), True),
    ("subject_id", StringType(), True),
    ("event_at", StringType(), True),
    ("received_at", StringType(), True),
    ("items", ArrayType(LINE_ITEM), True),
    ("order_id", StringType(), True),
    ("currency", StringType(), True),
    ("page_path", StringType(), True),
    *_VISIT,
    ("consent", ArrayType(StringType()), True),
    ("source", StringType(), True),
    ("rejected_reason", StringType(), True),
)

# One decoded Kafka message. Key: (`topic`, `kafka_partition`, `kafka_offset`). Not yet checked:
# every business column may be null. `raw_value` is null for a tombstone. `is_well_formed` is false
# when the value is not a JSON object with the types of EVENT_MESSAGE.
DECODED_EVENT = _schema(
    ("event_id", StringType(), True),
    ("event_type", StringType(), True),
    ("event_name", StringType(), True),
    ("subject_id", StringType(), True),
    ("event_at", TimestampType(), True),
    ("received_at", TimestampType(), True),
    ("items", ArrayType(LINE_ITEM), True),
    ("order_id", StringType(), True),
    ("currency", StringType(), True),
    ("page_path", StringType(), True),
    *_VISIT,
    ("consent", ArrayType(StringType()), True),
    ("source", StringType(), True),
    ("rejected_reason", StringType(), True),
    ("is_well_formed", BooleanType(), False),
    ("topic", StringType(), False),
    ("kafka_partition", IntegerType(), False),
    ("kafka_offset", LongType(), False),
    ("kafka_at", TimestampType(), False),
    ("raw_key", BinaryType(), True),
    ("raw_value", BinaryType(), True),
)

# One accepted event. Key: `event_id`. Null: names, order, currency, page, visit and source the
# client did not send; items of events without products. Imported history has ``import:<digest>`` as
# its topic and the number of its event in the file as its offset.
# Partitioned by `event_date` (UTC date of `event_at`).
EVENT = _schema(
    ("event_id", StringType(), False),
    ("event_type", StringType(), False),
    ("event_name", StringType(), True),
    ("subject_id", StringType(), False),
    ("event_at", TimestampType(), False),
    ("received_at", TimestampType(), False),
    ("items", ArrayType(LINE_ITEM), True),
    ("order_id", StringType(), True),
    ("currency", StringType(), True),
    ("page_path", StringType(), True),
    *_VISIT,
    ("consent", ArrayType(StringType()), False),
    ("source", StringType(), True),
    ("topic", StringType(), True),
    ("kafka_partition", IntegerType(), True),
    ("kafka_offset", LongType(), True),
    ("event_date", DateType(), False),
)

# One row of table `events`. Key and unique: (`event_id`, `payload_hash`) within the window of duplicates.
STORED_EVENT = _schema(*[(field.name, field.dataType, field.nullable) for field in EVENT], *ORIGIN)

# One accepted event older than the newest one before it in its Kafka partition by more than
# ``streams.watermark_minutes``; it is in no other table. Same key as STORED_EVENT.
LATE_EVENT = _schema(
    *[(field.name, field.dataType, field.nullable) for field in STORED_EVENT], ("watermark_at", TimestampType(), False)
)

# One item of one event of a person who allows personalisation. Times in milliseconds since the epoch.
# The same interaction may come twice (redelivery): who sums them takes distinct ones.
INTERACTION = _schema(
    ("subject_id", StringType(), False),
    ("item_id", StringType(), False),
    ("event_type", StringType(), False),
    ("event_ms", LongType(), False),
    ("received_ms", LongType(), False),
)

# Strength of a person's interest in an item. Unique: (`subject_id`, `item_id`). Positive.
INTERACTION_WEIGHT = _schema(
    ("subject_id", StringType(), False),
    ("item_id", StringType(), False),
    ("weight", DoubleType(), False),
)

TABLES: dict[str, StructType] = {
    "relevance": RELEVANCE,
    "parity": PARITY,
    "shown_lists": SHOWN_LIST,
    "events": STORED_EVENT,
    "quarantine": QUARANTINED_EVENT,
    "ledger": LEDGER,
    "removals": REMOVAL,
    "late_events": LATE_EVENT,
    "unsessioned_events": UNSESSIONED_EVENT,
    "sessions": SESSION,
    "triggers": TRIGGER_FIRED,
    "hot_subjects": HOT_SUBJECT,
    "activity": ACTIVITY,
    "items": ITEM,
    "customers": CUSTOMER,
    "rejected_rows": REJECTED_ROW,
    "enriched_items": ENRICHED_ITEM,
}
"""Every Delta table by name."""
