"""Poison of every kind among good events in one batch: each is set aside with its reason, and the good ones are stored."""

import itertools

from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.event_clock import EventClock
from afterclick.events import decode_events
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from afterclick.suite_validation import SampleCheck
from builders import kafka_rows, make_message
from jobs.ingest_events import write_events
from poison import POISONS, poisoned


def test_poison_among_good_events_is_set_aside_with_its_reason(spark: SparkSession, tables: Settings) -> None:
    assert len(POISONS) >= 40
    kinds = list(POISONS)
    good = [make_message(event_id=f"good-{number}") for number in range(len(kinds))]
    bad = [poisoned(kind, f"bad-{number}") for number, kind in enumerate(kinds)]
    mixed = list(itertools.chain.from_iterable(zip(bad, good, strict=True)))
    suite = read_suite(tables.suite_path("events"))
    checked = flag_violations(decode_events(kafka_rows(spark, mixed)), suite)

    write_events(checked, 0, settings=tables, clock=EventClock(), sample_check=SampleCheck(suite, None))

    aside = {row.kafka_offset: row.reasons for row in delta_tables.read_table(spark, tables, "quarantine").collect()}
    assert sorted(aside) == [2 * number for number in range(len(kinds))]
    wrong = {kind: aside[2 * n] for n, kind in enumerate(kinds) if POISONS[kind].reason not in aside[2 * n]}
    assert wrong == {}
    stored = {row.event_id for row in delta_tables.read_table(spark, tables, "events").collect()}
    assert stored == {message["event_id"] for message in good}
    figures = check_ledger(spark, tables)
    assert {name: figures[name] for name in FAULTS} == dict.fromkeys(FAULTS, 0)
