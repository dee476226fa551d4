"""``afterclick demo``."""

import asyncio
import json
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

    from afterclick.local.demo_report import Progress
    from afterclick.settings import Settings


def demo(
    events: Annotated[int | None, typer.Option(help="Replay this many events, clean up and end.", min=1)] = None,
    rate: Annotated[float, typer.Option(help="Events per second; 0 = as fast as they are acknowledged.", min=0)] = 500,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    kill_streams: Annotated[bool, typer.Option(help="Kill -9 the Spark driver half-way and start it again.")] = False,
) -> None:
    """Show the whole path on real parts: Kafka, Spark, Delta, MLflow, Valkey, collector and API.

    Without --events it replays 20,000 events and then keeps everything running until Ctrl-C, so that
    you can try the printed addresses.

    Examples: afterclick demo · afterclick demo --events 20000 --json · afterclick demo --events 5000 --kill-streams
    """
    from afterclick.local.processes import end_in_order_when_terminated
    from afterclick.logs import configure_logging
    from afterclick.setting_sections import LogSettings

    end_in_order_when_terminated()
    configure_logging(LogSettings(), 30)
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="afterclick-demo-") as folder, ExitStack() as stack:
        figures = _run(Path(folder), stack, console, events, rate, kill_streams=kill_streams)
        if as_json:
            typer.echo(json.dumps(figures))
        else:
            _print_result(Console(), figures)
        if events is None:
            _stay(console, figures)


def _run(
    folder: Path, stack: ExitStack, console: Console, events: int | None, rate: float, *, kill_streams: bool
) -> dict[str, Any]:
    begun_at = time.time()

    def announce(text: str) -> None:
        console.print(f"[dim]{time.time() - begun_at:6.1f} s[/dim]  {text}", highlight=False)

    settings, lines = _start_servers(folder, stack, announce)
    from datetime import UTC, datetime

    from afterclick.local import demo as steps
    from afterclick.local import services
    from afterclick.local.recount import recount

    running: list[services.Service] = []
    stack.enter_context(services.stopping(running))
    announce("starting collector, API and recommendations, meanwhile:")
    steps.launch_fast_path(settings, running)
    spark = stack.enter_context(steps.demo_session(settings))
    plan = steps.DemoPlan(events=events or 20_000, rate=rate, kill_streams=kill_streams)

    def start_beside() -> None:
        announce("starting ingest and sessions, meanwhile:")
        steps.start_streams(settings, running, only=steps.BULK)

    baskets, names = steps.prepare(spark, settings, lines, announce, when_imported=start_beside)
    steps.wait_for_services(settings, running)
    messages = steps.planned_messages(baskets, plan, now=datetime.now(UTC))
    announce(f"replaying {len(messages):,} events of simulated visits over HTTP")
    _print_addresses(console, settings)
    watch = partial(_watch, settings=settings, console=console)
    figures = asyncio.run(steps.replay(settings, plan, messages, names, running, watch=watch, begun_at=begun_at))
    announce("recounting the tables")
    with ThreadPoolExecutor(1) as beside:
        if events is not None:
            beside.submit(services.stop_services, running)
        figures |= recount(spark, settings)
    figures["events_without_consent"] = figures["without_consent_at_collector"] + figures["without_consent_in_stream"]
    return figures | {"seconds_total": round(time.time() - begun_at, 1)}


def _start_servers(
    folder: Path, stack: ExitStack, announce: "Callable[[str], None]"
) -> "tuple[Settings, pd.DataFrame]":
    """Start Kafka and Valkey; what takes seconds to load is loaded meanwhile."""
    from afterclick.local.java import compile_quickly
    from afterclick.local.stack import start_stack, stop_stack
    from afterclick.settings import load_settings

    compile_quickly()
    announce("starting Kafka and Valkey on loopback, reading Complete Journey (simulated transactions)")
    stack.callback(stop_stack, folder)
    with ThreadPoolExecutor(1) as beside:
        started = beside.submit(start_stack, folder)
        import afterclick.local.demo  # noqa: F401 - loads what the next steps use
        from afterclick.local.complete_journey import SHOWN_HOUSEHOLDS, read_lines

        lines = read_lines(SHOWN_HOUSEHOLDS)
        started.result()
    return load_settings("local", variables=_variables(folder)), lines


def _variables(folder: Path) -> dict[str, str]:
    import os

    ours = {
        "AFTERCLICK_STATE_DIR": str(folder),
        "AFTERCLICK_STREAMS__BULK_TRIGGER_SECONDS": "10",
        "AFTERCLICK_MODEL__BLEND_CASES": "1000",
    }  # a show, not a service
    return {**os.environ, **ours}  # noqa: TID251 - the caller's overrides stay in force


async def _watch(progress: "Progress", *, settings: "Settings", console: Console) -> None:
    """Redraw the live figures twice a second on a terminal; say nothing on a pipe."""
    from rich.live import Live

    from afterclick.local.demo_report import stream_counts
    from afterclick.local.freshness import percentiles_ms

    if not console.is_terminal:
        return
    begun = time.monotonic()
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            acked = len(progress.counts.acked)
            fresh = percentiles_ms([sample["total"] for sample in progress.probe.samples])
            table = Table(show_header=False, box=None)
            table.add_row(
                "events", f"{acked:,} of {progress.planned:,} acknowledged, {acked / (time.monotonic() - begun):.0f}/s"
            )
            table.add_row(
                "freshness", f"p50 {fresh.get('p50', '-')} ms, p99 {fresh.get('p99', '-')} ms (post to API answer)"
            )
            log = (settings.state_dir / "logs" / "bulk.log").read_text(encoding="utf-8", errors="replace")
            counts = stream_counts(log)
            table.add_row(
                "streams", f"{counts['sessions_closed']:,} sessions closed, {counts['events_rejected']:,} rejected"
            )
            table.add_row("one person", f"{progress.shown_person} just added: {', '.join(progress.did[:4])}")
            live.update(table)
            await asyncio.sleep(0.5)


def _print_addresses(console: Console, settings: "Settings") -> None:
    key = settings.collector.write_keys[0].get_secret_value()
    collector, api = settings.collector.base_url, settings.serving.base_url
    console.print("try from another terminal:", style="bold")
    consent = {"consent": {"categoryPreferences": {"analytics": True, "personalisation": True}}}
    properties = {"product_id": "1029743"}
    event = json.dumps({"event": "Product Viewed", "userId": "me", "properties": properties, "context": consent})
    for line in (
        f"curl -u {key}: {collector}/v1/track -d '{event}'",
        f"curl '{api}/v1/recommendations/me?explain=true'",
        f"curl {api}/v1/popular",
    ):
        console.print("  " + line, highlight=False, markup=False, soft_wrap=True)


def _print_result(console: Console, figures: dict[str, Any]) -> None:
    table = Table(title="What became of every event (simulated transactions)", show_header=False)
    for key, value in figures.items():
        if key != "shown":
            table.add_row(key.replace("_", " "), str(value))
    console.print(table)
    shown = figures["shown"]
    if shown:
        lists = Table("before", "after", title=f"Household {shown['person']}, after {', '.join(shown['did'][:5])} ...")
        for before, after in zip(shown["before"], shown["after"], strict=False):
            lists.add_row(before, after if after == before else f"[green]{after}[/green]")
        console.print(lists)


def _stay(console: Console, figures: dict[str, Any]) -> None:
    console.print(f"everything keeps running after {figures['seconds_total']} s; Ctrl-C ends and cleans up")
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        console.print("ending")
