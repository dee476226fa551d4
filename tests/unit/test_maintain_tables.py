"""Maintenance: old rows go, files become fewer, readers within the retention lose nothing."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.schemas import TABLES
from afterclick.schemas_sessions import TRIGGER_FIRED
from afterclick.setting_sections import MaintenanceSettings
from afterclick.settings import Settings
from jobs.maintain_tables import LAYOUTS, maintain_table

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def trigger(name: str, age: timedelta) -> tuple[Any, ...]:
    at = NOW - age
    return (name, "left", "cart_abandonment", "ada", ["mug"], at, at, at, 0)


def test_maintain_table_deletes_past_the_retention_and_compacts(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)
    days = settings.maintenance.retention_days["triggers"] or 0
    rows = [trigger("at the limit", timedelta(days=days)), trigger("past it", timedelta(days=days, seconds=1))]
    for number, row in enumerate([*rows, trigger("new", timedelta(0))]):
        frame = spark.createDataFrame([row], TRIGGER_FIRED)
        delta_tables.append_once(frame, settings, query="test", table="triggers", batch_id=number)
    path = delta_tables.table_path(settings, "triggers")
    before = spark.read.format("delta").option("versionAsOf", 3).load(path)

    for _ in range(2):
        maintain_table(spark, settings, "triggers", now=NOW)

    after = delta_tables.read_table(spark, settings, "triggers")
    assert {row.trigger_id for row in after.collect()} == {"at the limit", "new"}
    assert len(after.inputFiles()) == 1
    assert before.count() == 3  # a reader of the version before still finds its files


def test_every_layout_names_columns_of_its_table() -> None:
    for table, layout in LAYOUTS.items():
        assert {layout.time, *layout.sort_by} <= set(TABLES[table].names)


def test_every_layout_has_its_days_and_the_other_way_round() -> None:
    assert set(MaintenanceSettings().retention_days) == set(LAYOUTS)


def test_days_that_are_set_change_their_table_only() -> None:
    defaults = MaintenanceSettings().retention_days

    days = MaintenanceSettings(retention_days={"sessions": 30, "triggers": None}).retention_days

    assert days == {**defaults, "sessions": 30, "triggers": None}
    assert defaults["triggers"] == 180


@pytest.mark.parametrize(
    "days", [{"quarantines": 90}, {"hot_subjects": 90}, {"sessions": 0}, {"sessions": -1}, {"sessions": 99_999}]
)
def test_days_that_maintenance_cannot_keep_are_refused_with_what_it_can(days: dict[str, int | None]) -> None:
    with pytest.raises(
        ValidationError, match=rf"{next(iter(days))}: only rows of events, .*quarantine.* go by age, after 1 to"
    ):
        MaintenanceSettings(retention_days=days)


def test_vacuum_below_a_week_is_refused() -> None:
    """A slow reader or a stream that was down needs the files of its version."""
    with pytest.raises(ValidationError):
        MaintenanceSettings(vacuum_hours=167)
