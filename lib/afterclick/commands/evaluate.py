"""``afterclick evaluate``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from afterclick.evaluation import Tick


class Protocol(StrEnum):
    """How quality is measured."""

    SPLIT = "split"
    NEXT = "next"
    PREQUENTIAL = "prequential"
    PIPELINE = "pipeline"


class Repeats(StrEnum):
    """What a list may hold."""

    ALLOWED = "allowed"
    NEW = "new"


class Backend(StrEnum):
    """Who trains."""

    IMPLICIT = "implicit"
    MLLIB = "mllib"


class Batching(StrEnum):
    """What is predicted at once."""

    EVENT = "event"
    BASKET = "basket"


def _above_0(value: float | None) -> float | None:
    """Refuse what no model can be trained with."""
    if value is not None and not 0 < value < inf:
        told = f"{value} is not a finite number above 0"
        raise typer.BadParameter(told)
    return value


Log = Annotated[Path, typer.Argument(help="Parquet, CSV or JSON Lines.", exists=True, dir_okay=False)]


def evaluate(  # noqa: PLR0917 - typer's options
    protocol: Annotated[Protocol, typer.Argument(help="How to measure.")],
    file: Log,
    train: Annotated[Path | None, typer.Option(help="Train on this log.", exists=True, dir_okay=False)] = None,
    mapping: Annotated[Path | None, typer.Option(help="How the columns become the default ones.")] = None,
    repeats: Annotated[Repeats, typer.Option(help="May lists hold what the person already had?")] = Repeats.ALLOWED,
    batching: Annotated[Batching, typer.Option(help="Predict each event, or a basket at a time.")] = Batching.EVENT,
    visible_after: Annotated[float, typer.Option(help="Seconds until an event is known.", min=0)] = 0,
    ratio: Annotated[float, typer.Option(help="Training share of split without --train.", min=0.1, max=0.95)] = 0.8,
    seed: Annotated[int, typer.Option(help="Of the random split and of training.")] = 0,
    tune: Annotated[bool, typer.Option(help="Choose hyper-parameters on held-out training events.")] = True,
    rank: Annotated[int | None, typer.Option(help="Factors (default: settings).", min=1)] = None,
    regularization: Annotated[
        float | None, typer.Option(help="Lambda, above 0 (default: settings).", callback=_above_0)
    ] = None,
    alpha: Annotated[
        float | None, typer.Option(help="Confidence per weight, above 0 (default: settings).", callback=_above_0)
    ] = None,
    iterations: Annotated[int | None, typer.Option(help="Sweeps (default: settings).", min=1)] = None,
    backend: Annotated[Backend | None, typer.Option(help="Who trains (default: settings); mllib: one worker.")] = None,
    workers: Annotated[int | None, typer.Option(help="Processes (default: one per core).", min=1)] = None,
    events: Annotated[int, typer.Option(help="pipeline: events to judge by, at least.", min=1)] = 6_000,
    rate: Annotated[float, typer.Option(help="pipeline: events per second.", min=1)] = 25,
    pace: Annotated[float, typer.Option(help="pipeline: seconds between a person's events.", min=0.1)] = 1,
    environment: Annotated[
        str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure recommendation quality on a recorded log with the production ranking code.

    split: one list per person against a later or random part. next: each prefix predicts the next event.
    prequential: every event is predicted, then learned; models retrain at midnight.
    pipeline: first visits are sent through HTTP, Kafka, Spark and Redis, with a list read from the API before each event;
    beside it what is predicted offline at the measured lag.
    Hyper-parameters and blend weights are learned on the training events only.

    Example: afterclick evaluate prequential lines.parquet --mapping conf/mappings/online_retail.yaml --json
    """
    import os

    from afterclick.evaluation import Plan
    from afterclick.evaluation import evaluate as run
    from afterclick.event_logs import read_events
    from afterclick.recorded_logs import read_log, read_mapping
    from afterclick.settings import load_ranking_settings
    from afterclick.source_rules import SourceRules

    model, recommendations = load_ranking_settings(environment)
    given: dict[str, Any] = {"rank": rank, "regularization": regularization, "alpha": alpha, "iterations": iterations}
    given["backend"] = backend.value if backend else None
    changed = {name: value for name, value in given.items() if value is not None} | {"seed": seed}
    rules = read_mapping(mapping)
    tables = [read_log(path, rules).table for path in (train, file) if path]
    plan = Plan(
        model=model.model_copy(update=changed),
        rules=SourceRules(),
        repeats=repeats is Repeats.ALLOWED,
        batching=batching.value,
        visible_after_ms=round(visible_after * 1000),
        tune=tune and rank is None and regularization is None and alpha is None,
        workers=workers or len(os.sched_getaffinity(0)),
        train_share=ratio,
        seed=seed,
    )
    if protocol is Protocol.PIPELINE:
        from afterclick.commands.pipeline import evaluate_pipeline
        from afterclick.local.pipeline_replay import Pace

        report = evaluate_pipeline(tables, plan, recommendations.event_weights, Pace(rate, pace), events)
    else:
        log, train_count = read_events(tables, recommendations.event_weights)
        with _session(plan.model.backend, environment), _progress() as tick:
            report = run(cast("Any", protocol.value), log, train_count if train else None, plan, tick)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        _show(report)


@contextmanager
def _session(backend: str, environment: str | None) -> Iterator[None]:
    """Run Spark where the backend needs it."""
    if backend != "mllib":
        yield
        return
    from afterclick.local.jars import default_cache_dir, spark_jars
    from afterclick.settings import load_spark_conf
    from afterclick.spark_session import build_spark

    spark = build_spark("evaluate", load_spark_conf(environment or "local"), jars=spark_jars(default_cache_dir()))
    with TemporaryDirectory(prefix="afterclick-als-") as folder:
        spark.sparkContext.setCheckpointDir(folder)
        try:
            yield
        finally:
            spark.stop()


@contextmanager
def _progress() -> Iterator["Tick"]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("evaluating"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("evaluating", total=None)

        def tick(done: int, total: int | None = None) -> None:
            bar.update(task, advance=done, total=total)

        yield tick


def _show(report: dict[str, Any]) -> None:
    names = ("hr@20", "mrr@20", "ndcg@10", "ndcg@20", "recall@20", "precision@10")
    told = f"{report['protocol']}, repeats {report['repeats']}, {report['events']:,} events, {report['cases']:,} cases"
    table = Table("model", *names, title=told)
    for model, figures in report["models"].items():
        cells = []
        for name in names:
            low, high = figures["ci95"][name]
            cells.append(f"{figures[name]:.4f} ±{(high - low) / 2:.4f}")
        table.add_row(model, *cells)
    console = Console()
    console.print(table)
    if report["by_history"]:
        by_history = Table("earlier events", "events", *report["models"], title="hr@20 by history")
        for row in report["by_history"]:
            figures = [f"{row['models'][model]['hr@20']:.4f}" for model in report["models"]]
            by_history.add_row(row["earlier_events"], f"{row['events']:,}", *figures)
        console.print(by_history)
