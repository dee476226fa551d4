"""What of a night touches the lists that are served: a version that passed its gates is warmed and takes over."""

import asyncio
import time

from pyspark.sql import SparkSession

from afterclick.errors import LocalStackError
from afterclick.local import services
from afterclick.local.java import SHORT_LIVED
from afterclick.settings import Settings

DATE = "2999-12-31"
"""Logical date of the candidate: no training of the stack has it."""
STEPS = {
    "warm_cache": ("-m", "jobs.warm_cache", "--no-switch", "--date", DATE),
    "switch": ("-m", "afterclick.cli", "model", "switch", "--date", DATE),
}
"""The two steps of `airflow_dags/nightly_retrain.py` that write to Redis, as it runs them."""


def make_candidate(spark: SparkSession, settings: Settings) -> str:
    """Train and judge a version of `DATE` on what there is; return its name."""
    from jobs import promote_model, train_model  # noqa: PLC0415 - jobs import connectors, we sit above

    version = train_model.train_candidate(spark, settings, DATE)
    promote_model.judge_candidate(spark, settings, version)
    return version


async def serve_candidate(settings: Settings) -> dict[str, float]:
    """Warm the candidate's lists and switch to it, in idle time of the processor; return the seconds of each step.

    Raises
    ------
    LocalStackError
        If a step fails; with its log.
    """
    took: dict[str, float] = {}
    for name, arguments in STEPS.items():
        begun = time.monotonic()
        service = services.start_service(name, arguments, settings, in_background=True, variables=SHORT_LIVED)
        if code := await asyncio.to_thread(service.process.wait):
            message = f"{name} of the night ended with {code} beside the streams; {service.log} says why"
            raise LocalStackError(message)
        took[f"{name}_s"] = round(time.monotonic() - begun, 1)
    return took
