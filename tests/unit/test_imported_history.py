"""Imported history passes the same decoding and checks; repeating a file adds nothing."""

from datetime import UTC, datetime

import pyarrow as pa
from pyspark.sql import SparkSession

from afterclick.connectors import delta_tables
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.imported_history import admit_subjects
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings
from jobs.import_history import import_log

AT = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)


def log(**columns: list[object]) -> pa.Table:
    given = {"subject_id": ["ada"], "item_id": ["mug"], "event_at": [AT], "event_type": ["purchase"]} | columns
    return pa.table({**given, "event_at": pa.array(given["event_at"], pa.timestamp("us", "UTC"))})


def test_admit_subjects_replaces_each_id_and_keeps_null(settings: Settings) -> None:
    table = log(subject_id=["ada", None, "ada"], item_id=["a", "b", "c"], event_at=[AT] * 3, event_type=["view"] * 3)
    store = open_subject_store(settings)

    replaced = admit_subjects(table, store, ["analytics"])["subject_id"].to_pylist()

    ada = store.find(RawId("user", "ada"))
    assert ada is not None
    assert replaced == [ada.subject_id, None, ada.subject_id]
    assert ada.allows("analytics")


def test_admit_subjects_takes_times_finer_than_a_millisecond(settings: Settings) -> None:
    table = log(event_at=[AT.replace(microsecond=195_220)])

    replaced = admit_subjects(table, open_subject_store(settings), ["analytics"])["subject_id"].to_pylist()

    assert None not in replaced


def test_admit_subjects_leaves_out_who_withdrew_expressly(settings: Settings) -> None:
    store = open_subject_store(settings)
    store.admit([Claim(RawId("user", "ada"), {"analytics": False}, 1, "api")])

    left = admit_subjects(
        log(subject_id=["ada", "eve"], item_id=["a", "b"], event_at=[AT] * 2, event_type=["view"] * 2),
        store,
        ["analytics"],
    )

    assert left["item_id"].to_pylist() == ["b"]


def test_import_log_makes_one_event_of_an_order_with_its_lines_in_order(
    spark: SparkSession, settings: Settings
) -> None:
    lines = log(
        subject_id=["ada"] * 3, item_id=["mug", "cup", "jar"], event_at=[AT] * 3, event_type=["purchase"] * 3,
        order_id=["o-1", "o-1", "o-2"], quantity=[2, 1, 1], price=[3.5, 1.0, 2.0],
    )  # fmt: skip

    import_log(spark, settings, lines, digest="d1", purposes=["analytics"])

    rows = delta_tables.read_table(spark, settings, "events").orderBy("order_id").collect()
    assert [[item.item_id for item in row["items"]] for row in rows] == [["mug", "cup"], ["jar"]]
    ada = open_subject_store(settings).find(RawId("user", "ada"))
    assert ada is not None
    assert rows[0].subject_id == ada.subject_id
    assert rows[0].event_at == AT.replace(tzinfo=None)


def test_import_log_adds_nothing_when_repeated(spark: SparkSession, settings: Settings) -> None:
    for _ in range(2):
        import_log(spark, settings, log(), digest="d1", purposes=["analytics"])

    assert delta_tables.read_table(spark, settings, "events").count() == 1
    assert delta_tables.read_table(spark, settings, "ledger").count() == 1


def test_import_log_quarantines_what_breaks_a_rule(spark: SparkSession, settings: Settings) -> None:
    lines = log(subject_id=["ada", "ada", None], item_id=["mug", "", "cup"], event_at=[AT] * 3, event_type=["view"] * 3)

    import_log(spark, settings, lines, digest="d1", purposes=["analytics"])

    quarantined = delta_tables.read_table(spark, settings, "quarantine").orderBy("kafka_offset").collect()
    assert [row.reasons for row in quarantined] == [["item_id_missing"], ["subject_missing"]]
    assert delta_tables.read_table(spark, settings, "events").count() == 1
