from datetime import date, timedelta
from typing import Any

from chispa import assert_df_equality
from pyspark.sql import DataFrame, SparkSession

from afterclick import analysis
from afterclick.schemas import STORED_EVENT
from afterclick.schemas_fates import LEDGER, QUARANTINED_EVENT
from afterclick.schemas_sessions import SESSION, UNSESSIONED_EVENT
from builders import NOW, make_session, rows_of, subject

_VISITS = [
    make_session(session_id="1", event_count=1, estimated_event_count=1.0, view_count=0, page_count=4, device=None),
    make_session(session_id="2", started_at=NOW + timedelta(hours=1), ended_at=NOW + timedelta(hours=2)),
    make_session(session_id="3", subject_id=subject("bob"), cart_count=2, device=None),
    # An order that comes from a link in a mail: nothing was viewed or put into a cart before.
    make_session(session_id="4", subject_id=subject("eve"), view_count=0, purchase_count=1, order_value=9.5),
]


def test_visit_funnel_counts_a_visit_for_the_furthest_step_that_it_reached(spark: SparkSession) -> None:
    sessions = rows_of(spark, SESSION, _VISITS)

    actual = analysis.visit_funnel(sessions)

    expected = [("any", 4, 1.0), ("viewed", 3, 0.75), ("added to cart", 2, 0.5), ("ordered", 1, 0.25)]
    assert [tuple(row) for row in actual.collect()] == expected


def test_visits_by_names_what_was_not_said_unknown(spark: SparkSession) -> None:
    sessions = rows_of(spark, SESSION, _VISITS)

    actual = analysis.visits_by(sessions, "device").collect()

    assert [tuple(row) for row in actual] == [
        ("mobile", 2, 3.0, 1.0, 0.0, 0.5, 9.5),
        ("unknown", 2, 3.0, 2.5, 0.5, 0.0, 0.0),
    ]


def test_session_checks_find_a_session_that_begins_at_the_end_of_another(spark: SparkSession) -> None:
    touching = make_session(session_id="5", started_at=NOW + timedelta(minutes=3), uncounted_items=1)
    sessions = rows_of(spark, SESSION, [_VISITS[0], touching, *_VISITS[2:]])
    late = {"event_id": "a", "event_type": "view", "subject_id": "s", "batch_id": 1}
    times = dict.fromkeys(("event_at", "received_at", "watermark_at"), NOW)

    actual = analysis.session_checks(sessions, rows_of(spark, UNSESSIONED_EVENT, [late | times]))

    assert {row["check"]: row["rows"] for row in actual.collect()} == {
        "events after their session was closed": 1,
        "sessions that overlap": 1,
        "sessions with more items than are counted": 1,
        "sampled sessions": 0,
    }


def test_fates_by_day_sums_the_batches_of_a_day(spark: SparkSession) -> None:
    counts = {"consumed": 6, "events": 2, "late_events": 1, "quarantine": 1, "no_consent": 1, "duplicates": 1}
    row = {"query": "q", "generation": "1", "batch_id": 0, "reused_ids": 0, "written_at": NOW} | counts
    ledger = rows_of(spark, LEDGER, [row, row | {"batch_id": 1}, row | {"written_at": NOW - timedelta(days=1)}])

    actual = analysis.fates_by_day(ledger)

    expected = spark.createDataFrame(
        [(NOW.date() - timedelta(days=1), 6, 2, 1, 1, 1, 1), (NOW.date(), 12, 4, 2, 2, 2, 2)], actual.schema
    )
    assert_df_equality(actual, expected)


def test_quarantine_reasons_count_a_message_for_each_of_its_reasons(spark: SparkSession) -> None:
    row = {"query": "q", "batch_id": 0, "quarantined_at": NOW}
    quarantine = rows_of(
        spark,
        QUARANTINED_EVENT,
        [row | {"reasons": ["future", "no_subject"]}, row | {"reasons": ["future"], "replayed_at": NOW}],
    )

    actual = analysis.quarantine_reasons(quarantine)

    assert [tuple(found) for found in actual.collect()] == [("future", 2, 1), ("no_subject", 1, 0)]


def stored(spark: SparkSession, rows: list[dict[str, Any]]) -> DataFrame:
    common = {"event_type": "view", "event_at": NOW, "received_at": NOW, "event_date": date(2026, 11, 24)}
    return rows_of(spark, STORED_EVENT, [common | row for row in rows])


def test_consent_by_purpose_goes_by_the_newest_event(spark: SparkSession) -> None:
    before = {"event_id": "a", "subject_id": "ada", "consent": ["analytics", "personalisation"]}
    withdrawn = {"event_id": "b", "subject_id": "ada", "consent": ["analytics"]}
    both = {"event_id": "c", "subject_id": "bob", "consent": ["analytics", "personalisation"]}
    events = stored(spark, [withdrawn | {"received_at": NOW + timedelta(seconds=1)}, before, both])

    actual = analysis.consent_by_purpose(events)

    assert [tuple(row) for row in actual.collect()] == [
        ("(anybody)", 2, 1.0),
        ("analytics", 2, 1.0),
        ("personalisation", 1, 0.5),
    ]


def test_events_by_day_counts_people_once(spark: SparkSession) -> None:
    events = stored(spark, [{"event_id": name, "subject_id": "ada", "consent": []} for name in "abc"])

    actual = analysis.events_by_day(events)

    assert [tuple(row) for row in actual.collect()] == [(date(2026, 11, 24), "view", 3, 1)]


def test_stored_span_of_an_empty_table_has_no_oldest_row(spark: SparkSession) -> None:
    one = stored(spark, [{"event_id": "a", "subject_id": "ada", "consent": []}])

    actual = analysis.stored_span({"late": one.limit(0), "events": one})

    found = {row["table"]: (row["rows"], row["oldest"] is None) for row in actual.collect()}
    assert found == {"events": (1, False), "late": (0, True)}
