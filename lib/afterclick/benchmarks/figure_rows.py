"""One line of the page's table for each benchmark: what was measured, against what, and whether the goal was reached."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

Figures = Mapping[str, Any]
FRESH_P50_MS, FRESH_P99_MS = 200, 500
SKEW_RATIO, COUNTS_OFF = 2, 0.03
LATE_INTERVALS = 2


class Cells(NamedTuple):
    """What stands in a line after the name."""

    measured: str
    baseline: str
    ratio: str
    reach: str


def row(name: str, figures: Figures, reach: float | None) -> str:
    """Return the line; `reach` is the ratio to reach, None where the goal is of another kind."""
    return f"| {name} | {' | '.join(_OTHERS[name](figures) if name in _OTHERS else _ratio(name, figures, reach))} |"


def _ratio(name: str, figures: Figures, reach: float | None) -> Cells:
    ratio, unit, detail = figures["ratio"], _UNITS.get(name, ""), _DETAILS.get(name)
    goal = "" if reach is None else _goal(f"{reach:g}", is_reached=ratio >= reach)
    measured, baseline = _plain(figures["measured"], unit), _plain(figures["baseline"], unit)
    return Cells(measured + (detail(figures) if detail else ""), baseline, f"{ratio}", goal)


def _plain(value: float | str, unit: str) -> str:
    """Return a number with its thousands apart and its unit, words as they are."""
    return value if isinstance(value, str) else f"{value:,}{unit}"


def _folded(figures: Figures) -> str:
    by_rank = figures["by_rank"].items()
    return "".join(f"; rank {rank}: {one['users_per_s']:,} people/s, {one['ratio']}" for rank, one in by_rank)


def _ranked(figures: Figures) -> str:
    told = ""
    for kind, by_items in (("items", "by_items"), ("items with a long tail", "long_tail_by_items")):
        for items, ways in figures[by_items].items():
            told += f"; {int(items):,} {kind}: " + ", ".join(f"{one['ratio']} of {name}" for name, one in ways.items())
    return told


def _served(figures: Figures) -> str:
    at = figures["ms_at_rate"]
    return f"; p99 {at['p99']} ms at {at['rate']:,}/s"


def _collected(figures: Figures) -> str:
    return "".join(f"; {name.replace('_', ' ')}: {one['ratio']}" for name, one in figures["by_post"].items())


def _sessions(figures: Figures) -> str:
    alone = figures["without_triggers"]
    return f"; without triggers {alone['measured']:,}, {alone['ratio']}"


_UNITS = {
    "fold-in": " s",
    "rank": " s",
    "retrain": " s",
    "open-sessions": " s a batch",
    "memory": " bytes a person",
    "serving": " requests/s",
    "collector": " events/s",
    "sessions": " events/s",
    "ingest": " events/s",
    "rebuild": " people/s",
    "growth": " times as long",
}
"""Of the measured figure and of a baseline that is a number."""
_DETAILS: dict[str, Callable[[Figures], str]] = {
    "fold-in": _folded,
    "rank": _ranked,
    "serving": _served,
    "collector": _collected,
    "sessions": _sessions,
}
"""What stands behind the one figure, where there are more."""


def _goal(told: str, *, is_reached: bool) -> str:
    return told if is_reached else f"{told}, **missed**"


def _freshness(figures: Figures) -> Cells:
    if not figures.get("p99") or not figures["floor"]:
        return Cells("no samples", "", "", "200 / 500 ms, **missed**")
    floor, is_reached = figures["floor"], figures["p50"] <= FRESH_P50_MS and figures["p99"] <= FRESH_P99_MS
    ratio = f"{floor['p50'] / figures['p50']:.2f}"
    measured = f"{figures['p50']} / {figures['p99']} ms"
    if through := figures.get("through_switch"):
        measured += f"; through a switch {through.get('p50')} / {through.get('p99')} ms"
    return Cells(measured, f"{floor['p50']} / {floor['p99']} ms", ratio, _goal("200 / 500 ms", is_reached=is_reached))


def _skew(figures: Figures) -> Cells:
    lost = sum(abs(figures["counts"][who]["priority_lost"][kind]) for who in ("all", "hot")
               for kind in figures["counts"][who]["priority_lost"])  # fmt: skip
    errors = [abs(figures["counts"][who]["scaled_error"]) for who in ("all", "hot")]
    ratio, slow, calm = figures["ratio"], figures["skewed"], figures["baseline"]
    is_reached = ratio is not None and ratio <= SKEW_RATIO and not lost and max(errors) <= COUNTS_OFF
    measured = f"p99 {slow.get('p99')} ms; {lost} priority events lost; counts {max(errors):.2%} off"
    return Cells(measured, f"p99 {calm.get('p99')} ms", f"{ratio}", _goal("at most 2; 0; 3 %", is_reached=is_reached))


def _triggers(figures: Figures) -> Cells:
    late, shown = figures["intervals"], figures["list_ms"].get("p99")
    wrong = figures["twice"] + figures["others"] + figures["wrong_item"]
    is_reached = (
        late is not None and late <= LATE_INTERVALS and shown is not None and shown <= FRESH_P99_MS and not wrong
    )
    measured = (
        f"{late} intervals late; list p99 {shown} ms; {wrong} wrong; {figures['fired']} of {figures['leavers']} fired"
    )
    return Cells(measured, "", "", _goal("2; 500 ms; 0", is_reached=is_reached))


def _rollback(figures: Figures) -> Cells:
    days, caught = len(figures["days"]), figures["sabotage_caught"]
    is_reached = caught == days and not figures["false_rollbacks"]
    minutes = figures["minutes"]["median"] if figures["minutes"] else None
    measured = f"{caught} of {days} caught, after {minutes} min; {figures['false_rollbacks']} false"
    return Cells(measured, "", "", _goal("all; 0", is_reached=is_reached))


def _start_up(figures: Figures) -> Cells:
    is_reached = figures["measured"] < figures["goal_seconds"]
    measured, baseline = f"{figures['measured']:.2f} s", f"{figures['baseline']:.2f} s"
    return Cells(
        measured, baseline, f"{figures['ratio']}", _goal(f"{figures['goal_seconds']} s", is_reached=is_reached)
    )


def _overload(figures: Figures) -> Cells:
    silent = sum(load["without_retry_after"] for load in figures["by_load"].values())
    is_reached = not figures["lost"] and not silent
    measured = f"{figures['measured']:,}/s; {figures['lost']} lost; {silent} refusals without Retry-After"
    return Cells(measured, f"{figures['baseline']:,}/s", f"{figures['ratio']}", _goal("0; 0", is_reached=is_reached))


_OTHERS: dict[str, Callable[[Figures], Cells]] = {
    "freshness": _freshness,
    "skew": _skew,
    "triggers": _triggers,
    "rollback": _rollback,
    "start-up": _start_up,
    "overload": _overload,
}
