"""Recorded logs -> the same messages the collector writes, so that history passes the same checks."""

from collections.abc import Iterable, Sequence

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from afterclick.connectors.subject_store import SubjectStore
from afterclick.consent_rules import Claim, Person
from afterclick.pseudonyms import RawId
from afterclick.schemas import EVENT_MESSAGE

_CHUNK = 10_000
_NEVER = 2**62


def admit_subjects(log: pa.Table, store: SubjectStore, purposes: Sequence[str]) -> pa.Table:
    """Replace raw `subject_id` by pseudonyms; null stays null.

    Lines of people who withdrew or of the time before an erasure are left out.

    Parameters
    ----------
    purposes
        What the people allowed as of their last line; a decision of their own that the store knows goes first.
    """
    encoded = pc.dictionary_encode(log["subject_id"].combine_chunks())
    times = pc.cast(pc.cast(log["event_at"], pa.timestamp("ms", "UTC"), safe=False), pa.int64())
    last = pa.table({"who": encoded.indices, "at": times}).group_by("who").aggregate([("at", "max")])
    last_ms = dict(zip(last["who"].to_pylist(), last["at_max"].to_pylist(), strict=True))
    granted = dict.fromkeys(purposes, True)
    names = encoded.dictionary.to_pylist()
    people: list[Person | None] = []
    for start in range(0, len(names), _CHUNK):
        chunk = enumerate(names[start : start + _CHUNK], start)
        people += store.admit(
            [Claim(RawId("user", n), granted, last_ms[i] or store.now_ms(), "import") for i, n in chunk]
        )
    not_before = [p.not_before_ms if p and all(map(p.allows, purposes)) else _NEVER for p in people]
    replaced = pa.array([person.subject_id if person else None for person in people], pa.string())
    column = pa.DictionaryArray.from_arrays(encoded.indices, replaced).cast(pa.string())
    position = log.schema.get_field_index("subject_id")
    bound = pa.DictionaryArray.from_arrays(encoded.indices, pa.array(not_before, pa.int64())).cast(pa.int64())
    kept = pc.or_kleene(pc.is_null(encoded.indices), pc.greater(pc.fill_null(times, _NEVER), bound))
    is_open = pc.equal(bound, 0)  # nothing was erased: a line without a time goes through to quarantine
    return log.set_column(position, "subject_id", column).filter(pc.or_kleene(kept, is_open))


def encode_history(lines: DataFrame, *, digest: str, purposes: Iterable[str]) -> DataFrame:
    """Return raw Kafka-like rows, one per event, ready for `events.decode_events`.

    Parameters
    ----------
    lines
        Default columns of a recorded log (design, section 7), `subject_id` a pseudonym, plus `line` (long),
        the number of the line in the file.
    digest
        Identifies the file: with the event's first line it makes the position unique and repeatable.
    purposes
        What the people in the log allowed; said by whoever imports it.

    Notes
    -----
    Lines of one `event_id`, or of one order and event type, are one event with several items.
    `received_at` is the event's own time: when it was recorded is not known.
    """
    own_id = F.col("event_id") if "event_id" in lines.columns else F.lit(None).cast("string")
    order = F.col("order_id").cast("string") if "order_id" in lines.columns else F.lit(None).cast("string")
    from_order = F.concat_ws("-", F.lit("order"), order, F.col("subject_id"), F.col("event_type"))
    from_line = F.concat_ws("-", F.lit(digest), F.col("line"))
    event_id = F.coalesce(own_id, F.when(order.isNotNull(), from_order), from_line)
    named = lines.withColumn("event_id", event_id).withColumn("order_id", order)
    item = F.struct(F.col("item_id"), _optional(lines, "quantity", "long"), _optional(lines, "price", "double"))
    grouped = named.groupBy("event_id").agg(
        *[F.min_by(name, "line").alias(name) for name in ("subject_id", "event_type", "order_id", "event_at")],
        F.min("line").alias("line"),
        F.transform(F.sort_array(F.collect_list(F.struct("line", item.alias("item")))), lambda x: x["item"]).alias(
            "items"
        ),
    )
    at = F.date_format("event_at", "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'")
    fields = {
        "event_at": at,
        "received_at": at,
        "consent": F.array(*[F.lit(purpose) for purpose in purposes]),
        "source": F.lit("import"),
    }
    given = set(grouped.columns) | set(fields)
    value = F.struct(*[fields.get(n, F.col(n)).alias(n) for n in EVENT_MESSAGE.names if n in given])
    return grouped.select(
        F.col("subject_id").cast("binary").alias("key"),
        F.to_json(value).cast("binary").alias("value"),
        F.lit(f"import:{digest}").alias("topic"),
        F.lit(0).alias("partition"),
        F.col("line").cast("long").alias("offset"),
        F.current_timestamp().alias("timestamp"),
    )


def _optional(lines: DataFrame, name: str, kind: str) -> Column:
    value = F.col(name).cast(kind) if name in lines.columns else F.lit(None).cast(kind)
    return value.alias(name)
