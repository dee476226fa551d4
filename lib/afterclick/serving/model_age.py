"""When the served model was trained, as a metric: its version begins with that time."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from afterclick.errors import ModelNotFoundError


class ModelAge(Collector):
    """Read anew for each scrape; no sample before the first model.

    Parameters
    ----------
    served_version
        Raises `ModelNotFoundError` while there is none.
    """

    def __init__(self, served_version: Callable[[], str]) -> None:
        self._served_version = served_version

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Return what Prometheus reads."""
        family = GaugeMetricFamily(
            "afterclick_serving_model_timestamp_seconds", "When the served model was trained, from its version."
        )
        trained_at = self._trained_at()
        if trained_at is not None:
            family.add_metric([], trained_at.timestamp())
        yield family

    def _trained_at(self) -> datetime | None:
        try:
            return trained_at(self._served_version())
        except ModelNotFoundError:
            return None


def trained_at(version: str) -> datetime | None:
    """Return the time in a version like ``20261124T230501-9f3a``; None when it holds none."""
    try:
        return datetime.strptime(version.split("-", maxsplit=1)[0], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None
