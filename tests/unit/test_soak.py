"""The long run: what it sends, and that it would find a loss, growth and staler lists."""

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from itertools import islice

import psutil
import pytest

from afterclick.benchmarks.process_figures import Diary, ProcessFigures, read_processes
from afterclick.benchmarks.soak import PEOPLE_A_HOUSEHOLD, CountedOnly, batch_seconds, visits, windows
from afterclick.local.simulator import Basket, Line
from afterclick.query_metrics import BatchReport

BASKETS = [
    Basket(name, f"{name}-order", datetime(2026, 11, 27, tzinfo=UTC), (Line("mug", "Mug", 1, 2.5),)) for name in "ab"
]


def test_visits_never_end_ids_are_distinct_and_as_many_people_come_in_turns() -> None:
    laps = 3 * PEOPLE_A_HOUSEHOLD

    sent = list(islice(visits(BASKETS), 3 * len(BASKETS) * laps))

    people = [message["userId"] for message in sent if message["event"] == "Order Completed"]
    assert len({message["messageId"] for message in sent}) == len(sent)
    assert len(set(people)) == PEOPLE_A_HOUSEHOLD * len(BASKETS)
    assert people[: len(BASKETS)] == ["a", "b"]
    assert people.count("a") == laps // PEOPLE_A_HOUSEHOLD


def test_acked_messages_are_counted_without_being_kept() -> None:
    counts = CountedOnly()

    counts.add_acked([{"messageId": "m1"}, {"messageId": "m2"}])

    assert (counts.number, counts.acked) == (2, set())


def test_windows_are_the_begin_and_the_end() -> None:
    samples = [{"posted_at": float(at), "total": 0.1 if at < 50 else 0.3} for at in range(100)]

    first, last = windows(samples, window=20)

    assert (first["p99"], last["p99"]) == (100.0, 300.0)
    assert windows([], window=20) == ({}, {})


def test_batch_seconds_tells_batches_that_grew_longer_and_none_where_none_began() -> None:
    begun = datetime(2026, 11, 27, 12, tzinfo=UTC).timestamp()
    reports = [
        BatchReport("build_sessions", at, datetime.fromtimestamp(begun + at, UTC).isoformat(), 9, 1000 + at, 0)
        for at in (-30, 10, 20, 500, 960, 980)
    ]

    assert batch_seconds(reports, begun, 1000, window=100) == {"first": 1.015, "last": 1.97}
    assert batch_seconds(reports[:1], begun, 1000, window=100) == {"first": None, "last": None}


@pytest.mark.parametrize(("grown", "is_flat"), [(0, True), (20_000_000, False)])
def test_a_diary_tells_whose_memory_grew_after_the_begin(grown: int, is_flat: bool) -> None:
    diary = Diary(time.time())
    for number in range(10):
        diary.add({"api": ProcessFigures(100_000_000 + number * grown + (1_000_000 if number % 2 else 0), 1.0)})
        diary.seconds[-1] = 60.0 * number

    found = diary.trends(since=120)["api"]

    assert found["first_mb"] == 100 + 2 * grown / 1e6
    assert found["is_flat"] is is_flat
    assert found["growth_mb"] == pytest.approx(7 * grown / 1e6, abs=1)


def test_a_service_that_has_only_just_begun_has_no_trend() -> None:
    diary = Diary(time.time())
    for number in range(4):
        late = {"late": ProcessFigures(1_000_000, 0.0)} if number > 1 else {}
        diary.add({"api": ProcessFigures(1_000_000 * (number + 1), 0.0), **late})

    assert diary.trends(since=0).keys() == {"api"}


def test_a_service_counts_with_its_children_and_this_process_without() -> None:
    alone = read_processes({"self": os.getpid()})["self"].rss_bytes
    inner = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; print(1, flush=True); time.sleep(60)'])"
    with subprocess.Popen([sys.executable, "-c", inner], stdout=subprocess.PIPE, process_group=0) as child:  # noqa: S603
        assert child.stdout
        child.stdout.readline()

        found = read_processes({"self": os.getpid(), "child": child.pid}, apart=True)
        parent = psutil.Process(child.pid).memory_info().rss
        os.killpg(child.pid, signal.SIGKILL)

    assert found["self"].rss_bytes < alone + parent
    assert found["child"].rss_bytes > 1.5 * parent
    programs = ["child itself", f"child {psutil.Process().name()}"]
    assert found.keys() == {"self", "child", *programs}
    assert sum(found[name].rss_bytes for name in programs) == found["child"].rss_bytes


def test_a_process_that_has_ended_is_left_out() -> None:
    found = read_processes({"self": os.getpid(), "nobody": 2**22 + 1})

    assert list(found) == ["self"]
    assert found["self"].rss_bytes > 10_000_000
    assert found["self"].cpu_seconds > 0
