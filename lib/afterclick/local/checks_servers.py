"""Checks of `afterclick doctor`: local servers, ports, clocks, Kafka's retention."""

from collections.abc import Mapping
from pathlib import Path

import psutil
import yaml

from afterclick.connectors.checkpoints import TopicState, committed_offsets
from afterclick.local.findings import Finding, Installation, judged
from afterclick.local.processes import is_listening, port_owner, running_pid
from afterclick.local.stack import SERVERS

MOST_SECONDS_AHEAD = 2.0
_NEW_PORT = "End that process, or write another port for it into endpoints.yaml and keep the rest of the file."


def check_servers(seen: Installation) -> Finding:
    """Look whether Kafka and Valkey run, and what keeps them from it."""
    if seen.settings and seen.settings.environment != "local":
        return Finding("local servers", True, f"not needed in environment {seen.settings.environment}", "")
    pids = {name: running_pid(seen.state_dir, name) for name in SERVERS}
    ports = _ports(seen.state_dir)
    problems: dict[str, str] = {}
    for name, pid in pids.items():
        if pid is None:
            problems |= _why_not_running(name, ports.get(name), seen.state_dir)
    return judged("local servers", problems, ", ".join(f"{name} pid {pid}" for name, pid in pids.items()))


def _why_not_running(name: str, port: int | None, state_dir: Path) -> dict[str, str]:
    if port and is_listening(port):
        return {f"{name} not running, its port {port} is taken by {_told(port)}, which is not ours": _NEW_PORT}
    if (state_dir / f"{name}.pid.json").exists():
        told = f"{name} not running: {name}.pid.json is stale, it ended without `afterclick down`"
        return {told: f"Run `afterclick up`, which replaces the file; {state_dir}/logs/{name}.log says why it ended."}
    return {f"{name} not running": "Run `afterclick up`."}


def check_ports(seen: Installation) -> Finding:
    """Look whether somebody else has the port of the collector or the API."""
    problems: dict[str, str] = {}
    ports = {name: port for name, port in _ports(seen.state_dir).items() if name not in SERVERS}
    for name, port in ports.items():
        if port and is_listening(port) and not _is_ours(port):
            problems[f"port {port} of the {name} is taken by {_told(port)}, which is not ours"] = _NEW_PORT
    return judged("ports", problems, ", ".join(f"{name} {port}" for name, port in ports.items()) or "none chosen yet")


def _ports(state_dir: Path) -> Mapping[str, int]:
    """Return the ports that `afterclick up` has chosen."""
    try:
        chosen = yaml.safe_load((state_dir / "endpoints.yaml").read_text(encoding="utf-8"))
        return {
            "kafka": int(chosen["kafka"]["bootstrap_servers"].rsplit(":", 1)[1]),
            "valkey": int(chosen["redis"]["url"].rsplit(":", 1)[1].split("/")[0]),
            "collector": int(chosen["collector"]["port"]),
            "serving": int(chosen["serving"]["port"]),
        }
    except (OSError, ValueError, KeyError, TypeError, IndexError, yaml.YAMLError):
        return {}


def _is_ours(port: int) -> bool:
    pid = port_owner(port)
    try:
        return pid is not None and any(Path(part).stem == "afterclick" for part in psutil.Process(pid).cmdline())
    except psutil.Error:
        return False


def _told(port: int) -> str:
    pid = port_owner(port)
    try:
        return f"process {pid} ({psutil.Process(pid).name()})" if pid else "a process of another user"
    except psutil.Error:
        return f"process {pid}"


def check_clocks(seen: Installation) -> Finding:
    """Compare other clocks with ours: times of receipt, freshness and sessions mix them."""
    fix = "Let one time service set all clocks (`timedatectl set-ntp true`, chrony) on both machines."
    wrong = {
        f"the clock of {name} is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} ours": fix
        for name, ahead in seen.seconds_ahead.items()
        if abs(ahead) > MOST_SECONDS_AHEAD
    }
    compared = ", ".join(seen.seconds_ahead) or "nothing that answers"
    return judged("clock", wrong, f"within {MOST_SECONDS_AHEAD:.0f} s of {compared}")


def check_topic(seen: Installation) -> Finding:
    """Compare what Kafka keeps with what the queries still have to read."""
    settings, topic = seen.settings, seen.topic
    if settings is None:
        return Finding("kafka topic", True, "not looked at: settings do not load", "")
    if topic is None:
        fix = "Compare kafka.bootstrap_servers, security_protocol and the user's rights with the broker's own."
        is_told = settings.environment == "local"  # by `check_servers`
        told = f"{settings.kafka.bootstrap_servers} does not answer or has no topic {settings.kafka.events_topic}"
        return Finding("kafka topic", is_told, told, "" if is_told else fix)
    problems: dict[str, str] = {}
    hours = topic.retention_ms / 3_600_000
    window = settings.streams.duplicate_window_hours
    if 0 <= hours < window:
        told = f"{settings.kafka.events_topic} keeps messages {hours:g} h, streams.duplicate_window_hours is {window}"
        problems[told] = (
            "Raise the topic's retention.ms to some days: a stream that stands still for longer loses events."
        )
    if "://" not in settings.storage.checkpoints:
        for checkpoint in sorted(Path(settings.storage.checkpoints).glob("*/")):
            problems |= _unreadable(checkpoint, settings.kafka.events_topic, topic)
    return judged("kafka topic", problems, f"keeps {'all' if hours < 0 else f'{hours:g} h'}")


def _unreadable(checkpoint: Path, name: str, topic: TopicState) -> dict[str, str]:
    try:
        committed = committed_offsets(checkpoint, name)
    except (OSError, ValueError, KeyError, IndexError):  # another source than Kafka, or being written
        return {}
    fix = "See 'A hole in Kafka' in docs/operations.md; never set failOnDataLoss=false."
    gone = [n for n, offset in committed.items() if offset < topic.begin.get(n, 0)]
    if gone:
        told = f"retention removed messages of partitions {gone} that {checkpoint.name} has not read"
        return {told: f"{fix} Raise retention.ms, or give the query more cores."}
    beyond = [n for n, offset in committed.items() if offset > topic.end.get(n, 0)]
    if beyond:
        told = f"{checkpoint.name} has read further than partitions {beyond} of {name} go: the topic was created anew"
        return {told: fix}
    return {}
