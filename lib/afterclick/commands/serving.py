"""``afterclick serve`` and ``rebuild-cache``."""

from typing import Annotated

import typer

Environment = Annotated[str | None, typer.Option(help="conf/<environment>.yaml.", envvar="AFTERCLICK_ENVIRONMENT")]


def serve(environment: Environment = None) -> None:
    """Serve the recommendation API.

    Example: afterclick serve & curl 'http://127.0.0.1:8181/v1/recommendations/ada?n=5&explain=true'
    """
    from afterclick.commands.http import run_service
    from afterclick.serving.app import create_app
    from afterclick.settings import load_settings

    settings = load_settings(environment)
    run_service("serving", create_app(settings), settings.serving, settings)


def rebuild_cache(
    environment: Environment = None,
    version: Annotated[str | None, typer.Option(help="Model version (default: the champion).")] = None,
) -> None:
    """Write every history and list in Redis anew from the Delta tables, then point to them.

    Safe beside running streams. Example: afterclick rebuild-cache
    """
    from rich.console import Console

    from afterclick.job_runner import job_context
    from jobs.warm_cache import warm

    console = Console(stderr=True)
    with (
        job_context("rebuild_cache", ["--environment", environment] if environment else []) as (spark, settings),
        console.status("folding everybody's history in"),
    ):
        people = warm(spark, settings, version)
    console.print(f"cache rebuilt: {people:,} people", highlight=False)
