"""From candidate to champion on real MLflow and Redis: good models pass, every kind of bad one is refused with why."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from mlflow import MlflowClient
from pydantic import SecretStr

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import list_changes
from afterclick.connectors.redis_store import Fence
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.errors import (
    IncompatibleModelError,
    ModelError,
    ModelNotFoundError,
    ModelRefusedError,
    StoreUnavailableError,
)
from afterclick.holdout import Visit, last_visits
from afterclick.list_updates import update_here
from afterclick.model_difference import compare
from afterclick.models import _sha256
from afterclick.promotion import evaluate, require_passed, roll_back, switch, verify
from afterclick.served_model import model_folder, read_recommender
from afterclick.settings import Settings
from afterclick.training import Training, train
from builders import places, variables_of
from jobs.train_model import kept_version
from nightly import NIGHTLY

logger = logging.getLogger(__name__)
DATE = "2026-11-24"


def shopping(people: int, seed: int) -> pa.Table:
    """Everybody buys six things of one of four kinds of ten items, one a day."""
    draw = np.random.default_rng(seed)
    kind = np.repeat(draw.integers(4, size=people), 6)
    items = [f"item-{10 * k + i}" for k, i in zip(kind, draw.integers(10, size=len(kind)), strict=True)]
    subjects = [f"person-{seed}-{number:04d}" for number in np.repeat(np.arange(people), 6)]
    columns: dict[str, Any] = {"subject_id": subjects, "item_id": items, "event_type": ["purchase"] * len(items)}
    return pa.table({**columns, "event_ms": np.tile(np.arange(6), people) * 86_400_000})


def trained(settings: Settings, version: str, **overrides: Any) -> Training:
    rows = shopping(300, seed=1)
    weights = rows.group_by(["subject_id", "item_id"]).aggregate([([], "count_all")])
    weights = weights.rename_columns(["subject_id", "item_id", "weight"])
    rules = settings.model.model_copy(update={"rank": 8, **overrides})
    weighed = settings.recommendations.event_weights
    return train(weights, rules, version=version, trained_at="2026-11-24T02:00:00+00:00", event_weights=weighed)


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One registry for all tests, because MLflow takes seconds to make its tables; each test has its own model."""
    folder = tmp_path_factory.mktemp("registry")
    return {"tracking_uri": SecretStr(f"sqlite:///{folder}/mlflow.db"), "artifact_root": str(folder / "artifacts")}


@pytest.fixture
def rules(live: Settings, registry: dict[str, Any]) -> Settings:
    """Return settings whose gates suit three hundred people."""
    promotion = live.promotion.model_copy(update={"min_interactions": 500, "list_length": 5})
    model = live.model.model_copy(update={**registry, "rank": 8, "name": live.redis.prefix.rstrip(":")})
    return live.model_copy(update={"promotion": promotion, "model": model})


@pytest.fixture
def client(rules: Settings) -> MlflowClient:
    """Open a registry with a champion that is served."""
    opened = model_registry.open_registry(rules)
    register(opened, rules, "good")
    evaluate(opened, rules, "good", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("good")
    switch(opened, rules, "good")
    return opened


VISITS: list[Visit] = last_visits(shopping(200, seed=2), most=200, length=200)


def register(client: MlflowClient, settings: Settings, version: str, **tags: str) -> None:
    training = trained(settings, version)
    users, items = training.weights.shape
    figures = {"users": float(users), "items": float(items), "interactions": float(training.weights.nnz)}
    model_registry.register_model(client, settings, training.model, parameters={"rank": 8}, metrics=figures, tags=tags)


def test_where_lists_leave_out_what_was_had_so_does_the_popular_list_beside_them(
    client: MlflowClient, rules: Settings
) -> None:
    lists = rules.recommendations.model_copy(update={"exclude_seen": True})
    model = trained(rules, "good").model
    known = dict(zip(model.item_keys.tolist(), model.item_ids.tolist(), strict=True))
    again = [
        visit._replace(wanted=frozenset(known[key] for key in visit.history.records["item_key"].tolist()))
        for visit in VISITS
    ]

    gates = evaluate(client, rules.model_copy(update={"recommendations": lists}), "good", again)

    assert [(gate.passed, gate.figure) for gate in gates if gate.name == "against_popular"] == [(True, 0.0)]


def stored(client: MlflowClient, settings: Settings, version: str) -> Path:
    """Where the registry keeps a version's arrays."""
    return Path(model_registry.find_version(client, settings, version).source)


def rewrite(folder: Path, name: str, values: Any) -> None:
    """Change an array together with the manifest: the sums say that all is well."""
    np.save(folder / f"{name}.npy", values, allow_pickle=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][f"{name}.npy"]["sha256"] = _sha256(folder / f"{name}.npy")
    (folder / "manifest.json").write_text(json.dumps(manifest))


def truncate(folder: Path) -> None:
    path = folder / "item_factors.npy"
    path.write_bytes(path.read_bytes()[:-100])


def tamper(folder: Path) -> None:
    path = folder / "item_factors.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")


def pickle_in_disguise(folder: Path) -> None:
    rewrite(folder, "popularity", np.array([{"a": 1}], dtype=object))


def link_to_another_file(folder: Path) -> None:
    (folder / "popularity.npy").rename(folder.parent / "elsewhere.npy")
    (folder / "popularity.npy").symlink_to(folder.parent / "elsewhere.npy")


def shuffle_item_map(folder: Path) -> None:
    rewrite(folder, "item_ids", np.random.default_rng(0).permutation(np.load(folder / "item_ids.npy")))


def fill_with_noise(folder: Path) -> None:
    factors = np.load(folder / "item_factors.npy")
    rewrite(folder, "item_factors", np.random.default_rng(0).normal(size=factors.shape).astype(np.float32))


def put_nan(folder: Path) -> None:
    factors = np.load(folder / "item_factors.npy")
    factors[3, 3] = np.nan
    rewrite(folder, "item_factors", factors)


def halve_rank(folder: Path) -> None:
    rewrite(folder, "item_factors", np.load(folder / "item_factors.npy")[:, :4].copy())


def swap_version(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "version": "good"}))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (truncate, "SHA-256"),
        (tamper, "SHA-256"),
        (pickle_in_disguise, "not a plain array"),
        (put_nan, "not finite"),
        (halve_rank, "rank: 4, settings want 8"),
        (shuffle_item_map, "against_champion: hit rate"),
        (fill_with_noise, "against_champion: hit rate"),
        (swap_version, "registered as bad"),
    ],
)
def test_a_bad_model_is_refused_with_the_reason_and_serving_is_untouched(
    client: MlflowClient, rules: Settings, spoil: Callable[[Path], None], reason: str
) -> None:
    register(client, rules, "bad")
    spoil(stored(client, rules, "bad"))

    evaluate(client, rules, "bad", VISITS)

    with pytest.raises(ModelRefusedError, match=reason):
        switch(client, rules, "bad")
    listed = {row["version"]: row for row in model_registry.list_versions(client, rules)}
    assert (listed["bad"]["status"], listed["bad"]["aliases"]) == ("refused", [])
    assert reason in listed["bad"]["refused_because"]
    verify(client, rules, "good")


def test_a_link_among_the_local_files_is_refused_when_the_model_is_loaded(
    client: MlflowClient, rules: Settings
) -> None:
    register(client, rules, "linked")
    evaluate(client, rules, "linked", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("linked")
    link_to_another_file(model_folder(rules, "linked"))

    with pytest.raises(IncompatibleModelError, match="is a link"):
        switch(client, rules, "linked")
    verify(client, rules, "good")


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "a\nb", "x" * 101])
def test_a_name_that_could_lead_elsewhere_is_refused(rules: Settings, name: str) -> None:
    with pytest.raises(IncompatibleModelError, match="is no name we give"):
        model_folder(rules, name)


def test_a_good_model_passes_with_its_figures_in_the_registry_and_is_served(
    client: MlflowClient, rules: Settings
) -> None:
    register(client, rules, "better")

    gates = evaluate(client, rules, "better", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("better")
    switch(client, rules, "better")

    assert all(gate.passed for gate in gates)
    verify(client, rules, "better")
    tags = model_registry.find_version(client, rules, "better").tags
    assert tags["gate_lists_unlike_pyfunc"] == "passed: 0, at most 0 allowed"
    assert tags["gate_against_champion"].startswith("passed: hit rate 0.")
    assert [(row["action"], row["left"], row["served"]) for row in list_changes(client, rules)] == [
        ("promote", "good", "better"),
        ("promote", "", "good"),
    ]


def test_a_model_that_was_never_judged_or_warmed_is_not_served(client: MlflowClient, rules: Settings) -> None:
    register(client, rules, "new")
    with pytest.raises(ModelRefusedError, match="never judged"):
        switch(client, rules, "new")

    evaluate(client, rules, "new", VISITS)
    with pytest.raises(ModelError, match="not warmed"):
        switch(client, rules, "new")
    verify(client, rules, "good")


@pytest.mark.parametrize("people", [200, pytest.param(20_000, marks=NIGHTLY)])
def test_rolling_back_serves_the_version_before_within_a_minute_with_what_arrived_since(
    client: MlflowClient, rules: Settings, people: int
) -> None:
    register(client, rules, "next")
    evaluate(client, rules, "next", VISITS)
    store = redis_store.connect(rules.redis)
    VersionPointer(store).announce("next")
    switch(client, rules, "next")
    subjects = [f"person-{number}" for number in range(people)]
    update_here(clicks(subjects), settings=rules, fence=Fence(1, 1))

    begun = time.monotonic()
    called = by_command(rules, "rollback", "--reason", "worse lists", "--json")
    wall_seconds = time.monotonic() - begun
    assert called.returncode == 0, called.stderr[-3000:]
    done = json.loads(called.stdout)

    logger.info("rollback people=%d seconds=%.2f wall_seconds=%.2f", people, done["seconds"], wall_seconds)
    verify(client, rules, "good")
    assert done["lists_caught_up"] == people
    assert done["seconds"] < wall_seconds < 60
    some = subjects[:: people // 100]
    folded = read_recommender(rules, "good").lists(store.read_histories(some), 0)
    found = [store.read_list(subject)[1] for subject in some]
    assert [places(top) for top in found if top] == [places(top) for top in folded]
    assert all(len(top.items) > 0 and top.source != "popular" for top in folded)
    newest = list_changes(client, rules)[0]
    assert (newest["action"], newest["left"], newest["served"], newest["reason"]) == (
        "rollback", "next", "good", "worse lists",
    )  # fmt: skip
    with pytest.raises(ModelRefusedError, match="worse lists"):
        require_passed(client, rules, "next")


def test_a_version_that_was_rolled_back_is_judged_again_but_not_served_again(
    client: MlflowClient, rules: Settings
) -> None:
    register(client, rules, "next", logical_date=DATE)
    evaluate(client, rules, "next", VISITS)
    pointer = VersionPointer(redis_store.connect(rules.redis))
    pointer.announce("next")
    switch(client, rules, "next")
    roll_back(rules, "worse lists")

    assert kept_version(client, rules, DATE) == "next"  # the night's run is cleared in Airflow
    gates = evaluate(client, rules, "next", VISITS)
    pointer.announce("next")
    with pytest.raises(ModelRefusedError, match="next is not promoted: it was rolled back: worse lists"):
        switch(client, rules, "next")

    assert all(gate.passed for gate in gates)
    tags = model_registry.find_version(client, rules, "next").tags
    assert (tags["status"], tags["refused_because"]) == ("rolled_back", "worse lists")
    verify(client, rules, "good")


def test_a_rollback_while_the_version_is_judged_stands(
    client: MlflowClient, rules: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(client, rules, "next")
    evaluate(client, rules, "next", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("next")
    switch(client, rules, "next")

    def roll_back_meanwhile(*_: object) -> None:
        roll_back(rules, "worse lists")

    monkeypatch.setattr(model_registry, "log_figures", roll_back_meanwhile)
    evaluate(client, rules, "next", VISITS)

    with pytest.raises(ModelRefusedError, match="it was rolled back: worse lists"):
        require_passed(client, rules, "next")


def clicks(subjects: list[str]) -> pa.Table:
    """Everybody looks at five things that the shop sells."""
    items = [f"item-{(7 * number + step) % 40}" for number in range(len(subjects)) for step in range(5)]
    columns: dict[str, Any] = {"subject_id": np.repeat(subjects, 5).tolist(), "item_id": items}
    times = np.tile(np.arange(5), len(subjects))
    return pa.table({**columns, "event_type": ["view"] * len(items), "event_ms": times, "received_ms": times})


def by_command(rules: Settings, *arguments: str, crash_point: str = "") -> subprocess.CompletedProcess[str]:
    """Call the program as somebody at the terminal does."""
    variables = {
        **variables_of(rules),
        "AFTERCLICK_MODEL__TRACKING_URI": rules.model.tracking_uri.get_secret_value(),
        "AFTERCLICK_MODEL__ARTIFACT_ROOT": rules.model.artifact_root,
        "AFTERCLICK_MODEL__NAME": rules.model.name,
    } | ({"AFTERCLICK_FAULTS__CRASH_POINT": crash_point} if crash_point else {})
    command = [sys.executable, "-m", "afterclick.cli", "model", *arguments]
    environment = {**os.environ, **variables}  # noqa: TID251 - handed on
    return subprocess.run(  # noqa: S603
        command, env=environment, capture_output=True, text=True, check=False, timeout=300, process_group=0
    )


def test_killed_between_alias_and_pointer_running_again_ends_in_the_new_version(
    client: MlflowClient, rules: Settings
) -> None:
    """CP14: the alias has moved, the namespace has not."""
    register(client, rules, "next")
    evaluate(client, rules, "next", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("next")

    killed = by_command(rules, "switch", "next", crash_point="CP14")

    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert model_registry.champion_version(client, rules) == "next"
    assert redis_store.connect(rules.redis).served_version() == "good"
    switch(client, rules, "next")
    verify(client, rules, "next")
    assert [row["served"] for row in list_changes(client, rules)] == ["next", "good"]


def test_mlflow_down_leaves_the_old_model_served_and_a_rollback_still_works(
    client: MlflowClient, rules: Settings
) -> None:
    register(client, rules, "next")
    evaluate(client, rules, "next", VISITS)
    VersionPointer(redis_store.connect(rules.redis)).announce("next")
    down = rules.model_copy(
        update={"model": rules.model.model_copy(update={"tracking_uri": SecretStr("http://127.0.0.1:9")})}
    )
    with pytest.raises(StoreUnavailableError, match="stays as it is"):
        switch(model_registry.open_registry(down), down, "next")
    assert redis_store.connect(rules.redis).served_version() == "good"

    switch(client, rules, "next")
    with pytest.raises(StoreUnavailableError, match="good is served again, but the registry still names next"):
        roll_back(down, "worse")
    assert redis_store.connect(rules.redis).served_version() == "good"


def test_two_runs_for_one_date_leave_one_version(rules: Settings) -> None:
    opened = model_registry.open_registry(rules)
    register(opened, rules, "early", logical_date=DATE)
    register(opened, rules, "late", logical_date=DATE)

    assert [row["version"] for row in model_registry.list_versions(opened, rules)] == ["early"]
    assert model_registry.choose_version(opened, rules, date=DATE) == "early"
    with pytest.raises(ModelNotFoundError, match="no model was registered for 2026-01-01"):
        model_registry.choose_version(opened, rules, date="2026-01-01")


def test_compare_shows_items_and_figures_of_both(client: MlflowClient, rules: Settings) -> None:
    smaller = trained(rules, "smaller").model
    ids = smaller.item_ids[:-3]
    cut = type(smaller)(
        version="smaller", item_ids=ids, item_factors=smaller.item_factors[:-3], popularity=smaller.popularity[:-3],
        regularization=1.0, alpha=1.0, event_weights={}, trained_at="",
    )  # fmt: skip
    model_registry.register_model(client, rules, cut, parameters={}, metrics={"users": 1.0})

    found = compare(client, rules, "good", "smaller")

    assert (found["items_gained"], found["items_lost"]) == (0, 3)
    assert found["values"]["users"] == [300.0, 1.0]
