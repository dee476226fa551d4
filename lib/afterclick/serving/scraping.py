"""What every part exports, read at intervals and kept for half an hour: the status page needs no Prometheus."""

import asyncio
import json
import logging
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from afterclick.settings import Settings

logger = logging.getLogger(__name__)
_KEPT_SECONDS = 1800
_TIMEOUT_SECONDS = 1.0

Labels = tuple[tuple[str, str], ...]
Samples = dict[tuple[str, Labels], float]


@dataclass(frozen=True)
class Snapshot:
    """All samples at one time, and the parts that did not answer."""

    at: float
    samples: Samples
    down: tuple[str, ...] = ()

    def total(self, name: str, **labels: str) -> float:
        """Add up a metric's samples that have `labels`."""
        return sum(self.by(name, "", **labels).values())

    def by(self, name: str, label: str, **labels: str) -> dict[str, float]:
        """Add up a metric's samples by the values of a label."""
        sums: dict[str, float] = {}
        for (found, pairs), value in self.samples.items():
            own = dict(pairs)
            if found == name and labels.items() <= own.items():
                sums[own.get(label, "")] = sums.get(own.get(label, ""), 0.0) + value
        return sums


class Scraper:
    """Reads collector, API and the jobs that wrote their address down.

    Parameters
    ----------
    own_metrics
        The API's own text: it does not ask itself over HTTP.
    """

    def __init__(self, settings: Settings, own_metrics: Callable[[], str]) -> None:
        self._settings = settings
        self._own_metrics = own_metrics
        self._seconds = settings.serving.status_seconds
        self.history: deque[Snapshot] = deque(maxlen=int(_KEPT_SECONDS / self._seconds))

    async def keep_reading(self) -> None:
        """Read for ever, in a thread: the event loop answers requests."""
        while True:
            self.history.append(await asyncio.to_thread(self.read))
            await asyncio.sleep(self._seconds)

    def read(self) -> Snapshot:
        """Return one snapshot; a part that does not answer is named, not an error."""
        samples = read_samples(self._own_metrics())
        down = []
        for name, address in self._targets().items():
            try:
                with urllib.request.urlopen(f"{address}/metrics", timeout=_TIMEOUT_SECONDS) as answer:  # noqa: S310 - http(s) of our own settings
                    samples |= read_samples(answer.read().decode())
            except (OSError, ValueError):
                down.append(name)
        return Snapshot(time.time(), samples, tuple(down))

    def _targets(self) -> Mapping[str, str]:
        targets = {"collector": self._settings.collector.base_url}
        folder = self._settings.metrics.discovery_dir
        for path in sorted(folder.glob("*.json")) if folder else ():
            targets |= _addresses(path)
        return targets


def read_samples(text: str) -> Samples:
    """Parse Prometheus' text format."""
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.items()))): float(s.value) for family in families for s in family.samples}


def _addresses(path: Path) -> dict[str, str]:
    """Read an entry of `metrics_export`; one that a job is just taking away is none."""
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {entry["labels"]["name"]: f"http://{entry['targets'][0]}" for entry in entries}
    except (OSError, ValueError, KeyError, IndexError) as error:
        logger.warning("no address in %s: %r", path, error)
        return {}
