"""How Prometheus finds collector, API and jobs; a job's metrics: a loopback port while it runs, a text file after its end."""

import json
import logging
import re
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server, write_to_textfile

from afterclick.job_metrics import JobMetrics, RunMetrics
from afterclick.setting_sections import HttpSettings, MetricsSettings

logger = logging.getLogger(__name__)
_FOLDER, _FILE = 0o755, 0o644


@contextmanager
def exported_metrics(
    name: str, metrics: JobMetrics, settings: MetricsSettings, *, is_stream: bool = False
) -> Iterator[None]:
    """Serve a job's metrics while it runs and leave how it ended as a text file.

    1. ``/metrics`` on ``metrics.port``, 2. its address in ``metrics.discovery_dir`` in the format of Prometheus'
    ``file_sd_configs``, taken away at the end (a crash leaves it: the target is down), 3. ``afterclick_job_*`` in
    ``metrics.textfile_dir`` for the node exporter. A run has failed after an exception or `JobMetrics.run_failed`.

    Parameters
    ----------
    is_stream
        It should run until it is stopped: a failure leaves its address too.
    """
    begun, failed = time.time(), True
    metrics.run_failed = False
    entry = _start_server(name, metrics.registry, settings)
    try:
        yield
        failed = metrics.run_failed
    finally:
        if entry and not (is_stream and failed):
            entry.unlink(missing_ok=True)
        if settings.textfile_dir:
            _leave_textfile(name, settings.textfile_dir, begun=begun, failed=failed)


@contextmanager
def service_address(name: str, service: HttpSettings, settings: MetricsSettings) -> Iterator[None]:
    """Leave a service's address in ``metrics.discovery_dir``, folder ``services``; an exception or a crash leaves it there.

    One file a port, so that several processes keep apart; none for port 0, which is known to nobody before it is bound.
    """
    if settings.discovery_dir is None or service.port == 0:
        yield
        return
    entry = settings.discovery_dir / "services" / f"{name}_{service.port}.json"
    scheme, _, address = service.base_url.partition("://")
    try:
        _make_readable(settings.discovery_dir)
        _write(entry, json.dumps([{"targets": [address], "labels": {"__scheme__": scheme}}]))
    except OSError:  # a service is worth more than what watches it
        logger.exception("Prometheus will not find %s: %s cannot be written", name, entry)
    yield
    with suppress(OSError):
        entry.unlink(missing_ok=True)


def _start_server(name: str, registry: CollectorRegistry, settings: MetricsSettings) -> Path | None:
    if settings.port is None:
        return None
    server, _ = start_http_server(settings.port, addr=settings.host, registry=registry)
    address = f"{settings.host}:{server.server_port}"
    logger.info("metrics served address=http://%s/metrics", address)
    if settings.discovery_dir is None:
        return None
    entry = settings.discovery_dir / f"{_file_name(name)}.json"
    _write(entry, json.dumps([{"targets": [address], "labels": {"job": "afterclick_jobs", "name": name}}]))
    return entry


def _leave_textfile(name: str, folder: Path, *, begun: float, failed: bool) -> None:
    """Write the run's end; after a failure the last success stays what it was."""
    path = folder / f"afterclick_{_file_name(name)}.prom"
    ended = RunMetrics()
    now = time.time()
    success = last_success(path) if failed else now
    if success is not None:
        ended.success.labels(name).set(success)
    ended.failed.labels(name).set(failed)
    ended.seconds.labels(name).set(now - begun)
    _make_readable(folder)
    write_to_textfile(str(path), ended.registry)
    path.chmod(_FILE)


def last_success(path: Path) -> float | None:
    """Return the epoch second of a job's last success, as its text file says."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    found = re.search(r"^afterclick_job_last_success_timestamp_seconds\{.*\} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def _file_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", name)


def _make_readable(folder: Path) -> None:
    """Create a folder that other users may look into: Prometheus is one, a service's umask hides files, and these name nobody."""
    folder.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode | _FOLDER != mode:
        with suppress(PermissionError):  # somebody else's
            folder.chmod(mode | _FOLDER)


def _write(path: Path, text: str) -> None:
    _make_readable(path.parent)
    part = path.with_suffix(".part")  # Prometheus watches for .json
    part.write_text(text, encoding="utf-8")
    part.chmod(_FILE)
    part.replace(path)
