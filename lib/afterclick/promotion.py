"""From candidate to champion: the gates of a stored version, and what became of it in the registry. No Spark.

Everything is judged on files fetched from the registry anew, so what is judged is what would be served.
"""

import logging
import math
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pandas as pd
from mlflow import MlflowClient, pyfunc

from afterclick.connectors import model_registry, redis_store
from afterclick.connectors.model_changes import record_change
from afterclick.connectors.model_registry import ARTIFACTS, PYFUNC, REASON_TAG, STATUS_TAG
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.crash_points import CrashPoint, crash_at
from afterclick.errors import (
    AfterclickError,
    IncompatibleModelError,
    ModelError,
    ModelRefusedError,
    StoreUnavailableError,
)
from afterclick.gates import Gate, array_gates, data_gates, file_gates, quality_gate, refusal
from afterclick.histories import EVENT_TYPE_CODES
from afterclick.holdout import Visit, judge, judge_lists
from afterclick.list_records import TopList
from afterclick.models import Model, item_keys, load_model
from afterclick.popular_list import popular_list
from afterclick.recommendations import Recommender
from afterclick.served_model import read_recommender
from afterclick.setting_sections import RecommendationSettings
from afterclick.settings import Settings
from afterclick.switching import go_back, take_over

logger = logging.getLogger(__name__)
ROLLED_BACK = "rolled_back"
_COMPARED = 20


def evaluate(client: MlflowClient, settings: Settings, version: str, visits: Sequence[Visit]) -> list[Gate]:
    """Judge a version by every gate and write figures and verdicts to the registry.

    Files that cannot be loaded are a failed gate, not an error: the registry says why the model is refused. A version
    that was rolled back keeps its status and reason, however good its figures are.
    """
    registered = model_registry.find_version(client, settings, version)
    with tempfile.TemporaryDirectory() as scratch:
        try:
            gates = _judge_files(client, settings, version, visits, Path(scratch))
        except (IncompatibleModelError, ValueError) as error:
            gates = [Gate("loads", passed=False, figure=0.0, limit=1.0, told=str(error))]
    figures = {f"gate_{gate.name}": gate.figure for gate in gates if math.isfinite(gate.figure)}
    model_registry.log_figures(client, registered.run_id, figures)
    reason = refusal(gates)
    status = "refused" if reason else "passed"
    tags = {f"gate_{gate.name}": f"{'passed' if gate.passed else 'failed'}: {gate.told}" for gate in gates}
    now = model_registry.find_version(client, settings, version)  # judging takes minutes, a rollback seconds
    if now.tags.get(STATUS_TAG) == ROLLED_BACK:
        status = ROLLED_BACK
    else:
        tags |= {STATUS_TAG: status, REASON_TAG: reason or ""}
    model_registry.set_tags(client, settings, version, tags)
    logger.info("model judged version=%s status=%s gates=%d", version, status, len(gates))
    return gates


def require_passed(client: MlflowClient, settings: Settings, version: str) -> None:
    """Name a version challenger if its gates are passed.

    Raises
    ------
    ModelRefusedError
        If it was refused, rolled back or never judged; with the reason.
    """
    tags = model_registry.find_version(client, settings, version).tags
    if tags.get(STATUS_TAG) != "passed":
        reason = tags.get(REASON_TAG) or "it was never judged: run the job promote_model"
        if tags.get(STATUS_TAG) == ROLLED_BACK:
            reason = f"it was rolled back: {tags.get(REASON_TAG)}"
        raise ModelRefusedError(f"model version {version} is not promoted: {reason}")
    model_registry.set_alias(client, settings, model_registry.CHALLENGER, version)


def switch(client: MlflowClient, settings: Settings, version: str) -> int:
    """Make a version that passed its gates champion and serve it; return the lists made while catching up.

    1. gates, 2. smoke load, 3. alias ``champion``, 4. the pointer in Redis. Stopped anywhere, running it again ends in
    the new version; until step 4 the old one answers.
    """
    require_passed(client, settings, version)
    recommender = read_recommender(settings, version)
    store = redis_store.connect(settings.redis)
    pointer = VersionPointer(store).versions()  # Redis answers, or nothing is touched
    if version not in {pointer.served, pointer.next}:
        message = f"lists of model version {version} are not warmed: run the job warm_cache --version {version} first"
        raise ModelError(message)
    model_registry.set_alias(client, settings, model_registry.CHAMPION, version)
    crash_at(CrashPoint.ALIAS_MOVED, settings.faults.crash_point)
    made = take_over(store, recommender, settings)
    left = pointer.previous if pointer.served == version else pointer.served
    record_change(client, settings, "promote", left=left, served=version, figures={"lists_caught_up": float(made)})
    return made


def roll_back(settings: Settings, reason: str) -> dict[str, str | float]:
    """Serve the version before again, with what arrived since, and say so in the registry.

    1. the pointer in Redis, because people wait for it; 2. alias ``champion``; 3. the audit row. Where MLflow does not
    answer the first step is done all the same, and the error says what is left to do.
    """
    begun = time.monotonic()
    store = redis_store.connect(settings.redis)
    left, served, made = go_back(store, lambda version: read_recommender(settings, version), settings)
    seconds = time.monotonic() - begun
    logger.warning("rolled back left=%s served=%s lists=%d seconds=%.2f reason=%s", left, served, made, seconds, reason)
    figures = {"lists_caught_up": float(made), "seconds": seconds}
    try:
        client = model_registry.open_registry(settings)
        model_registry.set_alias(client, settings, model_registry.CHAMPION, served)
        model_registry.set_tags(client, settings, left, {STATUS_TAG: ROLLED_BACK, REASON_TAG: reason})
        record_change(client, settings, "rollback", left=left, served=served, reason=reason, figures=figures)
    except AfterclickError as error:
        message = f"{served} is served again, but the registry still names {left} champion: {error} "
        raise StoreUnavailableError(message + f"Then run `afterclick model alias champion {served}`.") from error
    return {"left": left, "served": served, **figures}


def verify(client: MlflowClient, settings: Settings, version: str) -> None:
    """Make sure that a version is champion, served, and has a popular list.

    Raises
    ------
    ModelError
        With everything that is not so.
    """
    store = redis_store.connect(settings.redis)
    champion = model_registry.alias_version(client, settings, model_registry.CHAMPION)
    served = store.served_version()
    problems = [f"champion is {champion}"] if champion != version else []
    problems += [f"{served} is served"] if served != version else []
    problems += [] if store.read_popular(version) else ["it has no popular list"]
    if problems:
        message = f"model version {version} is not in place: {', '.join(problems)}; run `afterclick model switch` again"
        raise ModelError(message)


def _judge_files(
    client: MlflowClient, settings: Settings, version: str, visits: Sequence[Visit], scratch: Path
) -> list[Gate]:
    rules = settings.promotion
    registered = model_registry.find_version(client, settings, version)
    folder = model_registry.fetch_artifacts(client, registered, scratch, ARTIFACTS)
    begun = time.monotonic()
    model = load_model(folder)
    seconds = time.monotonic() - begun
    if model.version != version:
        raise IncompatibleModelError(f"the files are those of version {model.version}, registered as {version}")
    recommender = Recommender(model, settings.recommendations)
    megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    figures = client.get_run(registered.run_id).data.metrics
    gates = data_gates(figures.get("users", 0), figures.get("interactions", 0), len(visits), rules)
    pyfunc_folder = model_registry.fetch_artifacts(client, registered, scratch, PYFUNC)
    like_pyfunc = Recommender(model, RecommendationSettings(event_weights=dict(model.event_weights)))
    gates += file_gates(megabytes, seconds, _unlike_pyfunc(like_pyfunc, pyfunc_folder, visits), rules)
    champion = model_registry.alias_version(client, settings, model_registry.CHAMPION)
    other = read_recommender(settings, champion) if champion and champion != version else None
    gates += array_gates(model, other.model if other else None, settings.model.rank, rules)
    hits = judge(recommender, visits, n=rules.list_length).hit
    popular = _popular(model, visits, n=rules.list_length, exclude_seen=settings.recommendations.exclude_seen)
    counters = judge_lists(popular, visits, n=rules.list_length).hit
    gates.append(quality_gate("against_popular", hits, counters, tolerance=0.0))
    if other:
        rival = judge(other, visits, n=rules.list_length).hit
        gates.append(quality_gate("against_champion", hits, rival, tolerance=rules.tolerance))
    return gates


def _popular(model: Model, visits: Sequence[Visit], *, n: int, exclude_seen: bool) -> list[TopList]:
    """Return the popular list for each visit; where lists leave out what somebody had, so does this one."""
    if not exclude_seen:
        return [popular_list(model, n, now_ms=0)] * len(visits)
    longest = max((len(visit.history.records) for visit in visits), default=0)
    whole = popular_list(model, min(len(model.item_ids), n + longest), now_ms=0)
    keys = item_keys([item.item_id for item in whole.items])
    lists = []
    for visit in visits:
        had = visit.history.records["item_key"]
        unseen = np.flatnonzero(~np.isin(keys[: n + len(had)], had))[:n]
        lists.append(msgspec.structs.replace(whole, items=[whole.items[place] for place in unseen.tolist()]))
    return lists


def _unlike_pyfunc(recommender: Recommender, folder: Path, visits: Sequence[Visit]) -> int:
    """Count lists that differ between our loader and MLflow's pyfunc of the same version."""
    names = {code: name for name, code in EVENT_TYPE_CODES.items()}
    known = dict(zip(recommender.model.item_keys.tolist(), recommender.item_ids, strict=True))
    some = {f"person-{number}": visit.history for number, visit in enumerate(visits[:_COMPARED])}
    rows = [
        (subject, known.get(record["item_key"], "unknown"), names[record["event_type"]], int(record["event_ms"]))
        for subject, history in some.items()
        for record in history.records
    ]
    if not rows:
        return 0
    columns = ["subject_id", "item_id", "event_type", "event_ms"]
    shown = pyfunc.load_model(str(folder)).predict(pd.DataFrame(rows, columns=columns))
    theirs = shown.groupby("subject_id")["item_id"].apply(list).to_dict()
    ours = recommender.lists(list(some.values()), 0)
    wanted = {subject: [item.item_id for item in top.items] for subject, top in zip(some, ours, strict=True)}
    return sum(theirs.get(subject) != items for subject, items in wanted.items())
