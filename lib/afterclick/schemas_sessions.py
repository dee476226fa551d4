"""The shape of what the session operator keeps and says: sessions, late events, triggers."""

from pyspark.sql.types import ArrayType, BinaryType, DoubleType, LongType, StringType, TimestampType

from afterclick.schemas_fates import fields as schema

# One event after the watermark of the session operator had passed its time, so it joins no open session. It is in
# `events` or `late_events` as well. Same key as EVENT. `session_id` is the
# session it would have joined, null where it would have been one of its own. `jobs/repair_sessions.py` puts it there:
# then it is the session that holds it, since `repaired_at` (null before). `sample_rate` is the share of the like that was
# kept where low-value events were sampled (`load_shedding`); null in rows from before it was recorded.
UNSESSIONED_EVENT = schema(
    ("event_id", StringType(), False),
    ("event_type", StringType(), False),
    ("subject_id", StringType(), False),
    ("event_at", TimestampType(), False),
    ("received_at", TimestampType(), False),
    ("watermark_at", TimestampType(), False),
    ("session_id", StringType(), True),
    ("batch_id", LongType(), False),
    ("repaired_at", TimestampType(), True),
    ("sample_rate", DoubleType(), True),
)

# One closed session: a maximal run of a subject's events whose neighbouring gaps are within the limit, or up to an order
# where ``sessions.close_on_order`` says so. Unique: `session_id`, a hash of subject and start that replays reproduce.
# `item_count` are distinct items, at most ``sessions.item_limit``; mentions of further ones are in `uncounted_items`.
# Where low-value events were sampled, `event_count` counts the kept ones and `estimated_event_count` scales them back.
# `cart_value` and `order_value` are sums of quantity times price, in the events' own currency. `entry_page`, `campaign`
# and `device` are the first ones said, null where none was; `scroll_percent` is the largest.
SESSION = schema(
    ("session_id", StringType(), False),
    ("subject_id", StringType(), False),
    ("started_at", TimestampType(), False),
    ("ended_at", TimestampType(), False),
    ("duration_ms", LongType(), False),
    ("event_count", LongType(), False),
    ("view_count", LongType(), False),
    ("cart_count", LongType(), False),
    ("removal_count", LongType(), False),
    ("purchase_count", LongType(), False),
    ("page_count", LongType(), False),
    ("estimated_event_count", DoubleType(), False),
    ("item_count", LongType(), False),
    ("uncounted_items", LongType(), False),
    ("cart_value", DoubleType(), False),
    ("order_value", DoubleType(), False),
    ("dwell_ms", LongType(), False),
    ("scroll_percent", DoubleType(), True),
    ("entry_page", StringType(), True),
    ("campaign", StringType(), True),
    ("device", StringType(), True),
)

# One trigger that fired. Unique: `trigger_id`, a hash of rule, person and due time that replays reproduce. `due_at` is
# the event time at which it was due, `anchor_at` that of the event it follows from, `fired_at` our clock when it was
# written: the difference to `due_at` is its lateness. `item_ids`, most recent first, may be empty.
TRIGGER_FIRED = schema(
    ("trigger_id", StringType(), False),
    ("rule", StringType(), False),
    ("rule_kind", StringType(), False),
    ("subject_id", StringType(), False),
    ("item_ids", ArrayType(StringType()), False),
    ("due_at", TimestampType(), False),
    ("anchor_at", TimestampType(), False),
    ("fired_at", TimestampType(), False),
    ("batch_id", LongType(), False),
)

# One person of whom a batch brought more low-value events than ``load.hot_subject_events``. Unique: (`subject_id`,
# `batch_id`). `sample_rate` is the share of those that was kept.
HOT_SUBJECT = schema(
    ("subject_id", StringType(), False),
    ("event_count", LongType(), False),
    ("kept_count", LongType(), False),
    ("sample_rate", DoubleType(), False),
    ("flagged_at", TimestampType(), False),
    ("batch_id", LongType(), False),
)

# What the session operator says in one batch, by `change`: a ``closed`` or (with new events) ``open`` session (columns of
# SESSION), a ``late`` event (UNSESSIONED_EVENT without batch), a ``trigger`` (TRIGGER_FIRED without
# writer), a ``hot`` subject (HOT_SUBJECT). Others are null.
SESSION_CHANGE = schema(
    ("change", StringType(), False),
    *[(field.name, field.dataType, True) for field in SESSION],
    ("event_id", StringType(), True),
    ("event_type", StringType(), True),
    ("event_at", TimestampType(), True),
    ("received_at", TimestampType(), True),
    ("watermark_at", TimestampType(), True),
    ("trigger_id", StringType(), True),
    ("rule", StringType(), True),
    ("rule_kind", StringType(), True),
    ("item_ids", ArrayType(StringType()), True),
    ("due_at", TimestampType(), True),
    ("anchor_at", TimestampType(), True),
    ("kept_count", LongType(), True),
    ("sample_rate", DoubleType(), True),
)

# State of one shard of the session operator: Arrow streams of `session_state.Shard` and `triggers.TriggerShard`, and
# the text of the trigger rules that run.
SHARD_STATE = schema(
    *[(name, BinaryType(), False) for name in ("open", "mentions", "seen", "recent", "last", "clocks")],
    ("rules", StringType(), False),
)
