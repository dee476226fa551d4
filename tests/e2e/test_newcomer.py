"""A newcomer's path, command by command as the documents say, on real parts; afterwards every other command in them."""

import json
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from afterclick.local.services import stop_services
from documented_commands import documented_commands, key_of
from newcomer import Newcomer, newcomer, readme_block, wait_for, write_log
from nightly import NIGHTLY

pytestmark = [NIGHTLY, pytest.mark.timeout(3600)]
TODAY, TOMORROW = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (0, 1))
ELSEWHERE = Path("tests/contract/documented_elsewhere.json")
"""Commands that another test runs, or that cannot run here, each with where or why."""


@pytest.fixture(scope="module")
def me(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    with newcomer(tmp_path_factory.mktemp("newcomer")) as here:
        yield here


def test_newcomers_path(me: Newcomer) -> None:
    """Clone, demo, own log and model, own SDK event, own trigger, own expectation, rollback."""
    figures = json.loads(me.type('make demo ARGS="--events 1500 --json"', where=me.clone).splitlines()[-1])
    fates = ("events_in_delta", "events_in_quarantine", "events_without_consent")
    assert figures["events_acked"] == sum(figures[fate] for fate in fates) > 0

    me.type("afterclick init my_shop", where=me.clone)
    write_log(me.shop / "my_log.csv")
    me.type("afterclick up")
    me.type("afterclick import my_log.csv --mapping conf/mappings/my_events.yaml")
    train_and_switch(me, TODAY)
    me.start_services()
    first = me.api("/v1/popular")["model_version"]

    list_after_own_event(me)
    list_after_own_trigger(me)
    refused_by_own_expectation(me)

    train_and_switch(me, TOMORROW)
    second = wait_for("the second model", lambda: other_than(me, first))
    rolled_back = json.loads(me.type('afterclick model rollback --reason "a newcomer tries it" --json'))
    assert (rolled_back["served"], rolled_back["left"]) == (first, second)
    assert wait_for("the first model", lambda: other_than(me, second)) == first


def train_and_switch(me: Newcomer, date: str) -> None:
    me.submit(f"./spark-submit.sh train_model --date {date}")
    me.submit(f"./spark-submit.sh promote_model --date {date}")
    me.submit(f"./spark-submit.sh warm_cache --no-switch --date {date}")
    me.type(f"afterclick model switch --date {date}")
    me.type(f"afterclick model verify --date {date}")


def other_than(me: Newcomer, version: str) -> str | None:
    now = str(me.api("/v1/popular")["model_version"])
    return now if now != version else None


def track(me: Newcomer, user: str, **properties: Any) -> None:
    """Send one event with the README's lines for Segment's Python SDK, its placeholders filled in."""
    ends = me.endpoints["collector"]
    code = readme_block("python", "analytics.track")
    for ours, here in {
        '"WRITE_KEY"': repr(ends["write_keys"][0]),
        "127.0.0.1:PORT": f"127.0.0.1:{ends['port']}",
        '"ada"': repr(user),
        '{"product_id": "mug"}': repr(properties),
    }.items():
        assert ours in code
        code = code.replace(ours, here)
    subprocess.run(["scripts/test_clients.sh"], check=True)  # noqa: S607
    done = subprocess.run(  # noqa: S603
        ["./tests/clients/.venv/bin/python", "-c", code + "analytics.shutdown()"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def list_after_own_event(me: Newcomer) -> None:
    track(me, "ada", product_id="item-3")
    answer = wait_for("ada's list", lambda: personal(me, "ada"))
    assert {item["because"] for item in answer["items"]} <= {"item-3", None}
    curl = next(one.text for one in documented_commands() if one.text.startswith("curl "))
    shown = json.loads(
        me.type(curl.replace("PORT", str(me.endpoints["serving"]["port"])).replace("curl ", "curl -sf "))
    )
    assert shown["source"] == "fold_in"


def personal(me: Newcomer, user: str) -> dict[str, Any] | None:
    answer = me.api(f"/v1/recommendations/{user}?n=5&explain=true")
    return answer if answer["source"] == "fold_in" else None


def list_after_own_trigger(me: Newcomer) -> None:
    rule = "  - {name: really wants it, kind: repeated_visits, of: item, times: 2, within: 1h, cooldown: 1h}\n"
    with (me.shop / "conf" / "triggers.yaml").open("a", encoding="utf-8") as file:
        file.write(rule)
    for _ in range(2):
        track(me, "bob", product_id="item-4")

    time.sleep(6)  # longer than triggers.delay_seconds: his own next event moves the clock that decides
    track(me, "bob", product_id="item-5")

    def fired() -> bool:
        return bool(me.api("/v1/recommendations/bob").get("trigger") == "really wants it")

    wait_for("the trigger in bob's list", fired, seconds=240)
    told = me.type(f"afterclick triggers replay --rules conf/triggers.yaml --from {TODAY} --to {TOMORROW} --json")
    assert "really wants it" in told


def refused_by_own_expectation(me: Newcomer) -> None:
    suite = me.shop / "conf" / "expectations" / "events.json"
    rules = json.loads(suite.read_text(encoding="utf-8"))
    limit = {"column": "greatest_price", "max_value": 500}
    rule = {"type": "expect_column_values_to_be_between", "kwargs": limit, "meta": {"rule": "too_dear_for_us"}}
    rules["expectations"].append(rule)
    suite.write_text(json.dumps(rules), encoding="utf-8")
    me.restart_streams()
    track(me, "eve", product_id="item-2", price=501)
    track(me, "eve", product_id="item-2", price=499)

    def reasons() -> list[dict[str, Any]]:
        found = json.loads(me.type("afterclick quarantine list --json").splitlines()[-1])["reasons"]
        return [one for one in found if one["reason"] == "too_dear_for_us"]

    assert [one["messages"] for one in wait_for("the refused message", reasons, seconds=300)] == [1]


def test_every_other_documented_command_runs(me: Newcomer) -> None:
    """In the project of the path above; what runs elsewhere or nowhere is named in `ELSEWHERE`."""
    others_on_the_way(me)
    people(me)
    stop_services(me.services)
    me.services.clear()
    nightly_work(me)
    me.type("afterclick down")

    documented = {key_of(command) for command in documented_commands()}
    elsewhere = set(json.loads(ELSEWHERE.read_text(encoding="utf-8")))
    assert documented - elsewhere - me.ran == set()


def others_on_the_way(me: Newcomer) -> None:
    assert "afterclick" in me.type("make help", where=me.clone) + me.type("afterclick --help")
    me.type("afterclick doctor")
    (me.shop / "catalogue.csv").write_text("sku,name,price\nitem-1,Mug,4.5\n", encoding="utf-8")
    (me.shop / "items.yaml").write_text("item_id: sku\n", encoding="utf-8")
    me.type("afterclick import catalogue.csv --as items --mapping items.yaml")
    me.type("afterclick replay my_log.csv --mapping conf/mappings/my_events.yaml")
    me.type("afterclick sessionize my_log.csv --mapping conf/mappings/my_events.yaml --json")
    versions = [one["version"] for one in json.loads(me.type("afterclick model list --json"))["versions"]]
    me.type(f"afterclick model diff {versions[0]} {versions[1]} --json")
    me.type("afterclick model changes")
    me.type("afterclick model drift", code=1)  # none has been found
    me.type("afterclick items withdraw item-1")
    wait_for("item-1 gone", lambda: "item-1" not in popular_items(me), seconds=20)
    me.type("afterclick items list")
    me.type("afterclick items restore item-1")
    assert "rotate" in me.type("afterclick keys --help")
    me.type("afterclick keys create --scope read")
    me.type("afterclick quarantine inspect --reason too_dear_for_us --limit 3")
    (me.shop / "fix.yaml").write_text('fixes:\n  - set: {field: "items[].price", value: 5}\n', encoding="utf-8")
    told = me.type("afterclick quarantine replay --reason too_dear_for_us --fix fix.yaml --dry-run --json")
    assert json.loads(told.splitlines()[-1])


def popular_items(me: Newcomer) -> set[str]:
    return {item["item_id"] for item in me.api("/v1/popular?n=30")["items"]}


def people(me: Newcomer) -> None:
    me.type("afterclick subjects export --user ada --out ada.json")
    assert "item-3" in (me.shop / "ada.json").read_text(encoding="utf-8")
    me.type("afterclick subjects consent --user bob --withdraw personalisation")
    assert wait_for("bob's list is empty", lambda: me.api("/v1/recommendations/bob")["source"] == "popular", seconds=20)
    receipt = json.loads(me.type("afterclick subjects erase --user eve --json").splitlines()[-1])
    me.type(f"afterclick subjects receipt {receipt['erasure_id']}")
    account = json.loads(me.type("afterclick ledger check --json").splitlines()[-1])
    assert account["balanced"]
    assert account["removed"] > 0
    me.type("afterclick subjects canary --out m.json")


def nightly_work(me: Newcomer) -> None:
    for job in ("repair_sessions", "maintain_tables", "validate_tables", "erase_subjects", "report_parity"):
        me.submit(f"./spark-submit.sh {job}")
    me.submit("./spark-submit.sh pack")
    me.type("afterclick rebuild-cache")
