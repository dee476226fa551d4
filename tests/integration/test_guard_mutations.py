"""Every guard is held by a test: switch the guard off, and the test that is named here turns red."""

import contextlib
import json
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pyspark.sql import SparkSession

from afterclick import decided_fates, fate_rules
from afterclick.collector import event_sink
from afterclick.connectors import delta_tables, redis_scripts, redis_store
from afterclick.connectors.redis_store import RedisStore
from afterclick.fate_rules import NEVER, Flags, Ints
from afterclick.settings import Settings
from integration import test_broker_outage, test_update_recommendations
from integration.test_broker_outage import collector, start_broker  # noqa: F401 - fixtures of the named tests
from integration.test_update_recommendations import store  # noqa: F401
from unit import test_delta_tables, test_event_clock, test_ingest_events

RED = (AssertionError, pytest.fail.Exception)
Patch = pytest.MonkeyPatch


@contextlib.contextmanager
def turns_red() -> Iterator[None]:
    with pytest.raises(RED):
        yield


def test_without_deduplication_a_redelivery_is_stored_twice(
    spark: SparkSession, tables: Settings, monkeypatch: Patch
) -> None:
    find = fate_rules.find_repeats

    def find_nothing(*numbers: Any) -> tuple[Flags, Flags]:
        is_repeated, is_id_reused = find(*numbers)
        return np.zeros_like(is_repeated), is_id_reused

    monkeypatch.setattr(decided_fates, "find_repeats", find_nothing)

    with turns_red():
        test_ingest_events.test_write_events_counts_a_redelivery_in_a_later_batch_as_duplicate(spark, tables)


def test_without_the_future_rule_an_event_of_the_future_moves_the_watermark(
    spark: SparkSession, settings: Settings, tmp_path: Path
) -> None:
    shutil.copytree(settings.conf_dir, tmp_path / "conf")
    path = tmp_path / "conf" / "expectations" / "events.json"
    suite = json.loads(path.read_text())
    suite["expectations"] = [e for e in suite["expectations"] if e["meta"]["rule"] != "event_in_future"]
    path.write_text(json.dumps(suite))

    with turns_red():
        test_event_clock.test_an_event_in_the_future_never_moves_the_watermark(
            spark, settings.model_copy(update={"conf_dir": tmp_path / "conf"})
        )


def test_without_the_late_split_a_late_event_joins_the_others(
    spark: SparkSession, tables: Settings, monkeypatch: Patch
) -> None:
    def never_late(partitions: Ints, *_: Any, **__: Any) -> Ints:
        return np.full(len(partitions), NEVER)

    monkeypatch.setattr(decided_fates, "met_watermarks", never_late)

    with turns_red():
        test_ingest_events.test_write_events_puts_every_message_in_its_place(spark, tables)


def test_without_the_table_lock_two_processes_commit_at_once(
    spark: SparkSession, settings: Settings, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(delta_tables, "table_lock", lambda _: contextlib.nullcontext())

    with turns_red():
        test_delta_tables.test_append_once_holds_the_lock_of_the_table_while_it_commits(spark, settings, monkeypatch)


def test_without_the_checkpoint_lock_a_second_copy_starts(
    spark: SparkSession, settings: Settings, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(delta_tables, "_hold_checkpoint", lambda *_: None)

    try:
        with turns_red():
            test_delta_tables.test_start_stream_refuses_when_another_process_holds_the_checkpoint(spark, settings)
    finally:
        for query in spark.streams.active:
            query.stop()


def test_without_transaction_versions_a_repeated_batch_is_stored_twice(
    spark: SparkSession, settings: Settings, monkeypatch: Patch
) -> None:
    monkeypatch.setattr(delta_tables, "transaction_id", lambda *_: uuid.uuid4().hex)

    with turns_red():
        test_delta_tables.test_append_once_adds_nothing_when_repeated(spark, settings)


def test_without_the_fence_an_old_driver_overwrites_a_list(
    live: Settings,
    store: RedisStore,  # noqa: F811 - the fixture
    monkeypatch: Patch,
) -> None:
    fenced = [line for line in redis_scripts.WRITE.splitlines() if "return -1" in line]
    assert len(fenced) == 1
    monkeypatch.setattr(redis_store, "WRITE", redis_scripts.WRITE.replace(fenced[0], ""))

    with turns_red():
        test_update_recommendations.test_update_lists_leaves_a_later_writer_s_list_alone(live, store)


def test_without_waiting_for_the_report_the_collector_acknowledges_into_a_hanging_broker(
    collector: TestClient,  # noqa: F811 - the fixture
    tmp_path: Path,
    monkeypatch: Patch,
) -> None:
    begin: Callable[..., None] = event_sink._Reports.__init__  # noqa: SLF001

    def report_at_once(self: Any, *args: Any) -> None:
        begin(self, *args)
        self.delivered.set_result(None)

    monkeypatch.setattr(event_sink._Reports, "__init__", report_at_once)  # noqa: SLF001

    with turns_red():
        test_broker_outage.test_collector_acknowledges_nothing_while_the_broker_hangs(collector, tmp_path)
