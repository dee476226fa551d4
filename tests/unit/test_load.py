"""The load of a fault run: repeatable, every fate and every kind of poison in it, late only where it is meant."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from pyspark.sql import SparkSession

from afterclick.events import decode_events
from afterclick.faults.load import Fate, LoadPlan, good_message, plan_deliveries
from afterclick.faults.poison import POISONS
from afterclick.quality import flag_violations, read_suite
from afterclick.settings import Settings
from builders import kafka_rows

PLAN = LoadPlan(5_000, 3, datetime(2026, 11, 1, tzinfo=UTC))


def test_plan_is_the_same_for_the_same_seed() -> None:
    assert plan_deliveries(PLAN) == plan_deliveries(PLAN)


def test_plan_holds_every_fate_collisions_and_up_to_five_deliveries() -> None:
    deliveries = Counter(plan_deliveries(PLAN))

    assert set(deliveries.values()) == {1, 2, 3, 4, 5}
    assert {sent.fate for sent in deliveries} == set(Fate)
    assert len(deliveries) == PLAN.events
    assert 20 < len(deliveries) - len({sent.event_id for sent in deliveries}) < 100


@pytest.mark.parametrize("events", [500, 5_000, 50_000])
def test_only_events_meant_to_be_late_come_after_one_that_is_more_than_five_minutes_newer(events: int) -> None:
    newest = datetime.min.replace(tzinfo=UTC)
    for sent in plan_deliveries(LoadPlan(events, 3, PLAN.begins_at)):
        if sent.fate is Fate.ON_TIME:
            assert newest - sent.happened_at < timedelta(minutes=5)
            newest = max(newest, sent.happened_at)
        elif sent.fate is Fate.LATE:
            assert newest - sent.happened_at > timedelta(minutes=60)


def test_every_kind_of_poison_gets_its_reason_and_none_spoils_a_good_message(
    spark: SparkSession, settings: Settings
) -> None:
    assert len(POISONS) >= 40
    values = [spoil(good_message(number, PLAN)) for number, (_, spoil) in enumerate(POISONS.values())]
    rows = kafka_rows(spark, [*values, good_message(999, PLAN)])

    checked = flag_violations(decode_events(rows), read_suite(settings.suite_path("events"))).collect()

    found = {row.kafka_offset: row.failed_rules for row in checked}
    for offset, (kind, (reason, _)) in enumerate(POISONS.items()):
        assert found[offset], kind
        assert reason in found[offset] or reason == "empty_value", (kind, found[offset])
    assert found[len(POISONS)] == []
