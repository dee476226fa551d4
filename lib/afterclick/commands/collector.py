"""``afterclick collector``."""

from typing import Annotated

import typer


def collector(
    environment: Annotated[
        str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")
    ] = None,
) -> None:
    """Serve Segment's tracking API and write events to Kafka.

    Example: afterclick up && afterclick collector
    """
    from datetime import UTC, datetime

    from afterclick.collector.app import create_app
    from afterclick.collector.event_sink import KafkaSink
    from afterclick.commands.http import run_service
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    sink = KafkaSink(settings.kafka, settings.collector, settings.faults.crash_point)
    app = create_app(settings, sink, lambda: datetime.now(UTC))
    run_service("collector", app, settings.collector, settings)
