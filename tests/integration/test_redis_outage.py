"""Redis killed, slow, full or wiped: the API always has a list in bounded time, the streams recover or fail loudly."""

import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import redis
from fastapi.testclient import TestClient

from afterclick.connectors import redis_store
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.subject_store import open_subject_store
from afterclick.consent_rules import Claim
from afterclick.errors import StoreUnavailableError
from afterclick.local.processes import free_port, kill_process, running_pid, stop_process
from afterclick.local.valkey import start_valkey
from afterclick.models import save_model
from afterclick.pseudonyms import RawId
from afterclick.recommendations import update_lists
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving.app import create_app
from afterclick.settings import Settings, load_settings
from builders import make_model
from conftest import installation_variables
from suspended import resume, suspend


@pytest.fixture
def own(tmp_path: Path) -> Iterator[Settings]:
    """Return settings of a server of this test's own, with one person's list."""
    port = free_port()
    start_valkey(tmp_path, port=port)
    variables = installation_variables(tmp_path / "state", AFTERCLICK_REDIS__URL=f"redis://127.0.0.1:{port}/0")
    settings = load_settings("local", variables=variables)
    save_model(make_model(items=30), model_folder(settings, "v1"))
    store = redis_store.connect(settings.redis)
    store.switch_version("v1")
    update(settings, "item-3")
    store.write_popular(read_recommender(settings, "v1").popular(1))
    yield settings
    pid = running_pid(tmp_path, "valkey")
    if pid:
        resume(pid)
    stop_process(tmp_path, "valkey")


def ada(settings: Settings) -> str:
    """Return the pseudonym of the person, who allows personalisation."""
    person = open_subject_store(settings).admit([Claim(RawId("user", "ada"), {"personalisation": True}, 1)])[0]
    assert person is not None
    return person.subject_id


def update(settings: Settings, item: str, event_ms: int = 5) -> None:
    row = {
        "subject_id": [ada(settings)], "item_id": [item], "event_type": ["view"],
        "event_ms": [event_ms], "received_ms": [1000],
    }  # fmt: skip
    store, recommender = redis_store.connect(settings.redis), read_recommender(settings, "v1")
    update_lists(pa.table(row), recommender, store, length=9, fence=Fence(1, event_ms), now_ms=2000)


def pid_of(tmp_path: Path) -> int:
    pid = running_pid(tmp_path, "valkey")
    assert pid
    return pid


def port_of(settings: Settings) -> int:
    return int(settings.redis.url.get_secret_value().rsplit(":", 1)[1].split("/")[0])


def ask(client: TestClient, times: int = 1) -> tuple[set[int], set[str], float]:
    """Return statuses, sources and how long an answer took on the average, in seconds.

    The average, because one answer may wait for the processor; when each waited for Redis it could not be that small.
    """
    statuses, sources = set(), set()
    begun = time.monotonic()
    for _ in range(times):
        answer = client.get("/v1/recommendations/ada")
        statuses.add(answer.status_code)
        sources.add(answer.json()["source"])
    return statuses, sources, (time.monotonic() - begun) / times


def test_api_answers_popular_while_redis_is_dead_and_personal_when_it_is_back(own: Settings, tmp_path: Path) -> None:
    with TestClient(create_app(own)) as client:
        assert ask(client)[1] == {"fold_in"}
        kill_process(tmp_path, "valkey")
        statuses, sources, seconds = ask(client, 100)
        assert (statuses, sources) == ({200}, {"popular"})
        assert seconds < own.redis.timeout_seconds / 2

        start_valkey(tmp_path, port=port_of(own))
        time.sleep(own.serving.breaker_open_seconds)

        assert ask(client)[:2] == ({200}, {"fold_in"})


def test_api_waits_the_time_out_only_until_the_breaker_opens_when_redis_hangs(own: Settings, tmp_path: Path) -> None:
    rules = own.serving
    with TestClient(create_app(own)) as client:
        ask(client)
        suspend(pid_of(tmp_path))
        statuses, _, seconds = ask(client, rules.breaker_failures)
        assert statuses == {200}
        assert seconds < 4 * own.redis.timeout_seconds

        statuses, sources, seconds = ask(client, 100)
        assert (statuses, sources) == ({200}, {"popular"})
        assert seconds < own.redis.timeout_seconds / 2

        resume(pid_of(tmp_path))
        time.sleep(rules.breaker_open_seconds)
        assert ask(client)[:2] == ({200}, {"fold_in"})


def test_writer_fails_loudly_and_api_goes_on_when_redis_is_full(own: Settings) -> None:
    client = redis.Redis.from_url(own.redis.url.get_secret_value())
    used = int(client.info("memory")["used_memory"])
    client.config_set("maxmemory", used // 2)

    with pytest.raises(StoreUnavailableError, match=r"maxmemory.*'Redis is down'"):
        update(own, "item-4", 6)
    with TestClient(create_app(own)) as api:
        assert ask(api)[:2] == ({200}, {"fold_in"})

    client.config_set("maxmemory", 0)
    update(own, "item-4", 6)


def test_writer_recovers_by_itself_when_redis_is_away_for_a_moment(own: Settings, tmp_path: Path) -> None:
    kill_process(tmp_path, "valkey")
    start_valkey(tmp_path, port=port_of(own))

    update(own, "item-4", 6)

    history = redis_store.connect(own.redis).read_histories([ada(own)])[0]
    assert history.records["event_ms"].tolist() == [5, 6]


def test_writer_fails_loudly_when_redis_stays_away(own: Settings, tmp_path: Path) -> None:
    kill_process(tmp_path, "valkey")

    with pytest.raises(StoreUnavailableError, match="'Redis is down'"):
        update(own, "item-4", 6)


def test_api_gives_the_popular_list_when_redis_was_wiped(own: Settings) -> None:
    with TestClient(create_app(own)) as client:
        redis.Redis.from_url(own.redis.url.get_secret_value()).flushall()

        assert ask(client)[:2] == ({200}, {"popular"})


def seen_of(client: TestClient, person: str = "ada") -> tuple[bool, list[str]]:
    """Return whether what ada had is in somebody's list without it, and what that list could not keep to."""
    answer = client.get(f"/v1/recommendations/{person}?n=30&exclude_seen=true").json()
    return "item-3" in {item["item_id"] for item in answer["items"]}, answer["relaxed"]


def test_what_a_person_had_is_still_left_out_when_redis_was_wiped(own: Settings) -> None:
    with TestClient(create_app(own)) as client:
        assert seen_of(client) == (False, [])
        redis.Redis.from_url(own.redis.url.get_secret_value()).flushall()

        assert [seen_of(client) for _ in range(3)] == [(False, [])] * 3
        assert seen_of(client, "stranger") == (True, [])


def test_an_answer_says_that_nobody_knows_what_a_person_had_when_redis_was_wiped_before_it_was_read(
    own: Settings,
) -> None:
    with TestClient(create_app(own)) as client:
        redis.Redis.from_url(own.redis.url.get_secret_value()).flushall()

        assert [seen_of(client) for _ in range(2)] == [(True, ["exclude_seen"])] * 2


def test_before_the_first_version_is_served_nobody_is_known_to_have_had_anything(own: Settings) -> None:
    redis.Redis.from_url(own.redis.url.get_secret_value()).flushall()

    with TestClient(create_app(own)) as client:
        assert seen_of(client) == (True, [])


def test_lists_are_personal_again_when_a_wiped_redis_was_filled(own: Settings) -> None:
    with TestClient(create_app(own)) as client:
        redis.Redis.from_url(own.redis.url.get_secret_value()).flushall()
        assert ask(client, own.serving.breaker_failures + 1)[:2] == ({200}, {"popular"})
        redis_store.connect(own.redis).switch_version("v1")
        update(own, "item-3")

        assert ask(client)[:2] == ({200}, {"fold_in"})
