"""Measured figures -> the tables and curves of a page, between its marks; what stands around them stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

MARKS = ("<!-- last figures -->", "<!-- end -->")
CURVES = "growth.svg"


def put_between_marks(page: Path, text: str) -> None:
    """Replace what stands between `MARKS`."""
    before, _, rest = page.read_text(encoding="utf-8").partition(MARKS[0])
    _, _, after = rest.partition(MARKS[1])
    page.write_text(f"{before}{MARKS[0]}\n{text}\n{MARKS[1]}{after}", encoding="utf-8")


def growth_section(curves: Mapping[str, Any], folder: Path) -> list[str]:
    """Return the lines about how cost grows, and draw the curves into `folder`; none without curves."""
    if not curves:
        return []
    draw_curves(curves, folder / CURVES)
    head = ["", "| cost grows with | ms by size | exponent | for ten times the size |", "| --- | --- | --- | --- |"]
    rows = [
        f"| {name.replace('_', ' ')} | {', '.join(f'{int(size):,}: {ms:g}' for size, ms in curve['ms'].items())} "
        f"| {curve['exponent']:g} | {curve['step']:g} |"
        for name, curve in curves.items()
    ]
    return [*head, *rows, "", f"![Time of a batch by size, both logarithmic]({CURVES})"]


def draw_curves(curves: Mapping[str, Any], file: Path) -> None:
    """Draw the time of a batch over the size of each dimension, both logarithmic."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to import

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415 - after the choice of what draws

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, curve in curves.items():
        label = f"{name.replace('_', ' ')} ({curve['exponent']:g})"
        axes.loglog([int(size) for size in curve["ms"]], list(curve["ms"].values()), marker="o", label=label)
    axes.set(xlabel="size", ylabel="ms")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(title="grows with (exponent)", fontsize="small")
    with mpl.rc_context({"svg.hashsalt": "afterclick"}):  # the same figures give the same file
        figure.savefig(file, bbox_inches="tight", metadata={"Date": None})
    plt.close(figure)


def write_clusters(page: Path, figures: Mapping[str, Any], day: str) -> None:
    """Put what `bench scaling` predicted, measured and computed between the marks of a page."""
    told = f"`afterclick bench scaling`, {day}, {figures['machine']}, {figures['took_s']} s, calibrated at"
    lines = [f"{told} {figures['calibrated_at']:g} events/s:", "", *_loads(figures), "", *_costs(figures), ""]
    put_between_marks(page, "\n".join([*lines, *_clusters(figures["clusters"])]))


def _loads(figures: Mapping[str, Any]) -> list[str]:
    head = [
        "| events/s | p50 measured / predicted, ms | p99 measured (likely from–to) / predicted, ms | error of the p99 |"
    ]
    rows = [
        _load(rate, one, is_known=float(rate) == figures["calibrated_at"]) for rate, one in figures["loads"].items()
    ]
    reach = f"{figures['baseline']:.0%}{'' if figures['measured'] <= figures['baseline'] else ', **missed**'}"
    worst = f"Largest error of a load that was not calibrated with: {figures['measured']:.0%}; to reach: {reach}."
    return [*head, "| --- | --- | --- | --- |", *rows, "", worst]


def _load(rate: str, one: Mapping[str, Any], *, is_known: bool) -> str:
    measured, said, (least, most) = one["measured"], one["predicted"], one["p99_from_to"]
    error = f"{one['error']:+.0%}{' (calibrated)' if is_known else ''}"
    p99 = f"{measured['p99']:.0f} ({least:.0f}–{most:.0f}) / {said['p99']:.0f}"
    return f"| {int(float(rate)):,} | {measured['p50']:.0f} / {said['p50']:.0f} | {p99} | {error} |"


def _costs(figures: Mapping[str, Any]) -> list[str]:
    queue, costs = figures["queue"], figures["costs"]
    session = f"{costs['session_seconds'] * 1e6:.2f} µs, {costs['session_bytes'] / 1e3:.1f} kB while it works"
    rows = {
        "a batch, whatever is in it": f"{queue['fixed_ms']:g} ms; on executors {costs['spread_seconds'] * 1e3:.0f} ms more",
        "an event in it, on two cores": f"{queue['event_ms']:g} ms",
        "an event through the driver": f"{costs['driver_seconds'] * 1e6:.1f} µs",
        "a person's lists": f"{costs['list_seconds'] * 1e3:.2f} ms of a core, {costs['store_seconds'] * 1e6:.0f} µs of Redis",
        **{f"an event in {name}": f"{s * 1e6:.0f} µs of a core" for name, s in costs["per_event"].items()},
        "an open session a batch": session,
        "a person in Redis": f"{costs['person_bytes']:.0f} B",
    }
    return ["| cost of | measured |", "| --- | --- |", *[f"| {name} | {told} |" for name, told in rows.items()]]


def _clusters(clusters: Mapping[str, Any]) -> list[str]:
    rates = [f"{int(rate):,}" for rate in clusters]
    found = [_column(one) for one in clusters.values()]
    head = [f"| | {' | '.join(f'{rate} events/s' for rate in rates)} |", "| --- |" + " --- |" * len(rates)]
    return [*head, *[f"| {name} | {' | '.join(column[name] for column in found)} |" for name in found[0]]]


def _column(one: Mapping[str, Any]) -> dict[str, str]:
    fast, of_service = one["recommendations"], one["cores"]
    lists = "not with any number tried"
    if fast:
        cores, driver = fast["cores"], fast["driver_cores"]
        of_one = f"({cores} + {driver})" if cores else f"{driver}, lists on the driver"
        lists = f"{fast['lanes']:,} × {of_one}"
    return {
        "`update_recommendations`: applications × (executor cores + driver)": lists,
        "its freshness p50 / p99, ms": f"{fast['p50_ms']} / {fast['p99_ms']}" if fast else "",
        "cores of `ingest_events` and `build_sessions`": f"{of_service['bulk']:,}",
        "`sessions.shards`, and memory for open sessions": f"{one['session_shards']:,}; {one['session_memory_gb']:,} GB",
        "collector processes": f"{of_service['collector']:,}",
        "cores of Kafka": f"{of_service['kafka']:,}",
        "partitions of the topic": f"{one['partitions']:,}",
        "cores of Redis, one a shard": f"{one['redis_cores']:,}",
        "Redis for each day's people who are kept": f"{one['people_a_day']:,}: {one['redis_gb_a_day_of_people']:,} GB",
    }
