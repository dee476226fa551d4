"""Catalogue and customers: checked imports, consent, and items that come after their events."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.catalogue_triggers import find_catalogue_triggers
from afterclick.connectors import delta_tables
from afterclick.connectors.dimension_tables import import_dimension
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.dimension_files import read_dimension_file
from afterclick.errors import ContractError
from afterclick.pseudonyms import RawId
from afterclick.schemas import EVENT
from afterclick.schemas_sessions import TRIGGER_FIRED
from afterclick.settings import Settings
from afterclick.trigger_file import CatalogueChange
from builders import rows_of, subject
from jobs import enrich_events
from jobs import import_dimension as import_job

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)


def catalogue(*rows: dict[str, Any]) -> pa.Table:
    names = {"item_id": pa.string(), "name": pa.string(), "category": pa.string(), "price": pa.float64()}
    kinds = {**names, "currency": pa.string(), "in_stock": pa.bool_()}
    return pa.Table.from_pylist(list(rows), schema=pa.schema(list(kinds.items())))


def events(spark: SparkSession, *rows: tuple[str, str, list[str], list[str]]) -> Any:
    """Return events: id, person, items, consent."""
    made = [
        {
            "event_id": name, "event_type": "view", "subject_id": who, "event_at": AT, "received_at": AT,
            "items": [(item, 1, 2.0) for item in items], "consent": consent, "event_date": AT.date(),
        }
        for name, who, items, consent in rows
    ]  # fmt: skip
    return rows_of(spark, EVENT, made)


def test_an_item_that_comes_after_its_events_is_joined_without_a_restart(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    delta_tables.ensure_tables(spark, settings)
    both = ["analytics", "personalisation"]
    allowed = {"analytics": True, "personalisation": True}
    claims = [Claim(RawId("user", name), allowed, 1, "test") for name in ("ada", "bob")]
    ada, bob = (person.subject_id for person in open_subject_store(settings).admit(claims) if person)
    customers = tmp_path / "customers.csv"
    customers.write_text("subject_id,segment,region\nada,gold,north\nbob,new,south\neve,new,south\n")
    known = import_job.import_file(spark, settings, "customers", customers)
    import_dimension(spark, settings, "items", catalogue({"item_id": "mug", "category": "kitchen", "price": 3.0}))
    at_once = settings.model_copy(update={"streams": settings.streams.model_copy(update={"bulk_trigger_seconds": 1})})
    query = enrich_events.start(spark, at_once)
    first = events(spark, ("e1", ada, ["mug", "lamp"], both), ("e2", bob, ["mug"], ["analytics"]))
    delta_tables.append_once(first, settings, query="test", table="events", batch_id=0)
    query.processAllAvailable()
    before = read(spark, settings)

    outcome = import_dimension(
        spark, settings, "items", catalogue({"item_id": "lamp", "category": "light", "price": 9.0})
    )
    second = events(spark, ("e3", ada, ["lamp"], both))
    delta_tables.append_once(second, settings, query="test", table="events", batch_id=1)
    query.processAllAvailable()
    query.stop()

    assert (known.taken, known.without_consent) == (2, 1)
    assert before == {
        ("e1", 0, "mug", True, "kitchen", 3.0, "gold"),
        ("e1", 1, "lamp", False, None, None, "gold"),
        ("e2", 0, "mug", True, "kitchen", 3.0, None),
    }
    assert outcome.rejoined == 1
    assert read(spark, settings) == {
        ("e1", 0, "mug", True, "kitchen", 3.0, "gold"),
        ("e1", 1, "lamp", True, "light", 9.0, "gold"),
        ("e2", 0, "mug", True, "kitchen", 3.0, None),
        ("e3", 0, "lamp", True, "light", 9.0, "gold"),
    }


def test_a_lower_price_and_a_return_fire_for_those_who_wait(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)
    both = ["analytics", "personalisation"]
    rows = events(
        spark,
        ("e1", subject("ada"), ["mug", "lamp"], both), ("e2", subject("bob"), ["mug"], ["analytics"]),
        ("e3", subject("eve"), ["mug"], both), ("e4", subject("dan"), ["lamp"], both),
    )  # fmt: skip
    bought = events(spark, ("e5", subject("eve"), ["mug"], both)).withColumns(
        {"event_type": F.lit("purchase"), "event_at": F.expr("event_at + INTERVAL 1 MINUTE")}
    )
    old = spark.createDataFrame(
        [("mug", 10.0, True), ("lamp", 10.0, False)], "item_id string, price double, in_stock boolean"
    )
    new = spark.createDataFrame([("mug", 9.0, True), ("lamp", 9.01, True)], old.schema)
    tables = {
        "before": old, "after": new, "events": rows.unionByName(bought),
        "fired": delta_tables.read_table(spark, settings, "triggers"),
    }  # fmt: skip
    week, hour = 7 * 86_400_000_000, 3_600_000_000
    rules = [CatalogueChange("cheap", hour, week, 10.0), CatalogueChange("back", hour, week)]

    def fired(rule: CatalogueChange, now: datetime = AT + timedelta(days=1), **more: Any) -> Any:
        found = find_catalogue_triggers(rule, **{**tables, **more}, now=now).collect()
        return sorted((row.subject_id, row.rule_kind, row.item_ids) for row in found)

    assert fired(rules[0]) == [(subject("ada"), "price_drop", ["mug"])]
    assert fired(rules[1]) == sorted((subject(name), "back_in_stock", ["lamp"]) for name in ("ada", "dan"))
    assert fired(rules[1], now=AT + timedelta(days=7)) == []
    earlier = find_catalogue_triggers(rules[0], **tables, now=AT + timedelta(days=1))
    assert fired(rules[0], now=AT + timedelta(days=1, minutes=59), fired=earlier) == []


@pytest.mark.parametrize("by_percent", [5, 10, 30, 90])
def test_a_cut_fires_from_exactly_its_percentage_on(spark: SparkSession, by_percent: int) -> None:
    exact = [cents for cents in range(100, 20_001) if cents * by_percent % 100 == 0]
    rest = 100 - by_percent
    prices = {f"exact-{cents}": (cents / 100, cents * rest // 100 / 100) for cents in exact}
    prices |= {f"less-{cents}": (cents / 100, (cents * rest // 100 + 1) / 100) for cents in exact}
    prices |= {f"same-{cents}": (cents / 100, cents / 100) for cents in (0, *exact)}
    prices |= {"free now": (3.3, 0.0), "free no more": (0.0, 3.3)}
    old, new = zip(*prices.values(), strict=True)
    before, after = (
        spark.createDataFrame(pa.table({"item_id": list(prices), "price": side, "in_stock": [True] * len(prices)}))
        for side in (old, new)
    )
    rule = CatalogueChange("cheap", 3_600_000_000, 7 * 86_400_000_000, float(by_percent))

    (row,) = find_catalogue_triggers(
        rule, before=before, after=after, now=AT + timedelta(hours=1),
        events=events(spark, ("e1", subject("ada"), list(prices), ["personalisation"])),
        fired=spark.createDataFrame([], TRIGGER_FIRED),
    ).collect()  # fmt: skip

    assert set(row.item_ids) == {"free now", *(f"exact-{cents}" for cents in exact)}


def read(spark: SparkSession, settings: Settings) -> set[tuple[Any, ...]]:
    rows = delta_tables.read_table(spark, settings, "enriched_items").collect()
    names = ("event_id", "position", "item_id", "is_item_known", "category", "list_price", "segment")
    return {tuple(row[name] for name in names) for row in rows}


def test_import_sets_refused_rows_aside_and_changes_nothing_when_repeated(
    spark: SparkSession, settings: Settings
) -> None:
    delta_tables.ensure_tables(spark, settings)
    rows = catalogue(
        {"item_id": "mug", "price": 3.0, "currency": "EUR"},
        {"item_id": "cup", "price": -1.0, "currency": "EUR"},
        {"item_id": "pot", "price": 1.0, "currency": "XXQ"},
    )

    outcomes = [import_dimension(spark, settings, "items", rows) for _ in range(2)]

    assert [(one.rows, one.taken, one.rejected) for one in outcomes] == [(3, 1, 2)] * 2
    items = delta_tables.read_table(spark, settings, "items").collect()
    assert [(row.item_id, row.price) for row in items] == [("mug", 3.0)]
    rejected = delta_tables.read_table(spark, settings, "rejected_rows").collect()
    assert {(row.line, *row.reasons) for row in rejected} == {(1, "price_negative"), (2, "currency_unknown")}


def test_import_refuses_keys_that_come_twice_and_names_them(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)

    with pytest.raises(ContractError, match=r"1 values of item_id come more than once: mug"):
        import_dimension(
            spark, settings, "items", catalogue({"item_id": "mug"}, {"item_id": "cup"}, {"item_id": "mug"})
        )

    assert delta_tables.read_table(spark, settings, "items").count() == 0


def test_import_sets_all_rows_without_a_key_aside(spark: SparkSession, settings: Settings) -> None:
    delta_tables.ensure_tables(spark, settings)
    rows = catalogue({"item_id": "mug"}, {"name": "Cup"}, {"name": "Pot"}, {"item_id": ""}, {"item_id": ""})

    outcome = import_dimension(spark, settings, "items", rows)

    assert (outcome.rows, outcome.taken, outcome.rejected) == (5, 1, 4)
    rejected = delta_tables.read_table(spark, settings, "rejected_rows").collect()
    missing, empty = ("item_id_missing",), ("item_id_length",)
    assert {(row.line, *row.reasons) for row in rejected} == {(1, *missing), (2, *missing), (3, *empty), (4, *empty)}


def test_read_dimension_file_renames_columns_and_tells_what_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "items.csv"
    file.write_text("sku,title\na,Mug\n")

    table = read_dimension_file(file, "items", {"item_id": "sku", "name": "title"})

    assert table.select(["item_id", "name", "price"]).to_pylist() == [{"item_id": "a", "name": "Mug", "price": None}]
    with pytest.raises(ContractError, match="no column for item_id; it has sku, title"):
        read_dimension_file(file, "items", {})
