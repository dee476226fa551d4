"""Producers of another version write to the same topic: compatible ones go on, breaking ones are set aside."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows, make_message
from jobs.ingest_events import write_events


def renamed(old: str, new: str, **overrides: Any) -> dict[str, Any]:
    message = make_message(**overrides)
    message[new] = message.pop(old)
    return message


def item(**fields: Any) -> list[dict[str, Any]]:
    return [{"item_id": "mug", "quantity": 1, "price": 1.5} | fields]


COMPATIBLE = {
    "old": make_message(event_id="old"),
    "optional_field_added": make_message(event_id="optional_field_added", loyalty={"tier": "gold", "points": [1, 2]}),
    "optional_item_field_added": make_message(event_id="optional_item_field_added", items=item(colour="red")),
    "optional_field_left_out": {
        k: v for k, v in make_message(event_id="optional_field_left_out").items() if k != "source"
    },
    "integer_for_double": make_message(event_id="integer_for_double", items=item(price=2)),
    "long_for_integer": make_message(event_id="long_for_integer", dwell_ms=2**40),
    "number_for_text": make_message(event_id="number_for_text", items=item(item_id=4711)),
}
BREAKING = {
    "required_field_renamed": (renamed("subject_id", "userId"), "subject_missing"),
    "required_field_left_out": (renamed("event_at", "happened_at"), "event_at_invalid"),
    "items_renamed": (renamed("items", "products"), "item_missing"),
    "text_for_number": (make_message(items=item(quantity="2")), "malformed"),
    "double_for_integer": (make_message(items=item(quantity=1.5)), "malformed"),
    "object_for_list": (make_message(items=item()[0]), "malformed"),
    "number_for_time": (make_message(event_at=1_795_521_599), "event_at_invalid"),
    "new_event_type": (make_message(event_type="levitate"), "event_type_unknown"),
}


def write(spark: SparkSession, settings: Settings, batches: list[list[Any]]) -> tuple[set[str], dict[int, list[str]]]:
    """Return the ids of stored events, and the reasons by offset of quarantined messages."""
    suite, clock, offset = read_suite(settings.suite_path("events")), EventClock(), 0
    for batch_id, messages in enumerate(batches):
        rows = kafka_rows(spark, messages, first_offset=offset)
        write_events(flag_violations(decode_events(rows), suite), batch_id, settings=settings, clock=clock)
        offset += len(messages)
    events = delta_tables.read_table(spark, settings, "events").collect()
    aside = delta_tables.read_table(spark, settings, "quarantine").collect()
    return {row.event_id for row in events}, {row.kafka_offset: row.reasons for row in aside}


def test_old_and_new_producers_at_once_only_lose_what_breaks(spark: SparkSession, tables: Settings) -> None:
    breaking = [message for message, _ in BREAKING.values()]
    mixed = [message for pair in zip(breaking, COMPATIBLE.values(), strict=False) for message in pair] + breaking[
        len(COMPATIBLE) :
    ]

    stored, reasons = write(spark, tables, [mixed, [make_message(event_id="afterwards")]])

    assert stored == {*COMPATIBLE, "afterwards"}
    at = {offset: message for offset, message in enumerate(mixed) if any(message is bad for bad in breaking)}
    expected = {offset: next(r for m, r in BREAKING.values() if m is message) for offset, message in at.items()}
    assert {offset: told[0] for offset, told in reasons.items()} == expected


def test_a_new_required_field_sets_old_producers_aside_from_then_on(
    spark: SparkSession, tables: Settings, tmp_path: Path
) -> None:
    shutil.copytree(tables.conf_dir, tmp_path / "conf")
    stricter = tables.model_copy(update={"conf_dir": tmp_path / "conf"})
    path = stricter.suite_path("events")
    suite = json.loads(path.read_text())
    rule = {
        "type": "expect_column_values_to_not_be_null",
        "kwargs": {"column": "device"},
        "meta": {"rule": "device_missing"},
    }
    path.write_text(json.dumps(suite | {"expectations": [*suite["expectations"], rule]}))
    messages = [make_message(event_id="new", device="phone"), make_message(event_id="old")]

    stored, reasons = write(spark, stricter, [messages])

    assert (stored, reasons) == ({"new"}, {1: ["device_missing"]})


@pytest.mark.parametrize("name", COMPATIBLE)
def test_compatible_messages_are_what_their_name_says(name: str) -> None:
    assert COMPATIBLE[name]["event_id"] == name
