"""Local servers for real: idempotent, foreign processes left alone, stale pid files seen through, loopback only."""

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from afterclick.errors import LocalStackError
from afterclick.local.diagnosis import diagnose
from afterclick.local.processes import free_port, running_pid
from afterclick.local.stack import local_settings, stack_status, start_stack, stop_stack
from afterclick.local.valkey import start_valkey
from waiting import wait_until


def test_stack_starts_once_keeps_ports_and_listens_on_loopback_only(tmp_path: Path) -> None:
    try:
        first = start_stack(tmp_path)
        pids = stack_status(tmp_path)
        assert start_stack(tmp_path) == first
        assert stack_status(tmp_path) == pids
        for pid in pids.values():
            listening = [c.laddr.ip for c in psutil.Process(pid).net_connections("inet") if c.status == "LISTEN"]
            assert listening
            assert set(listening) <= {"127.0.0.1", "::ffff:127.0.0.1", "::1"}
        findings = {finding.check: finding for finding in diagnose(tmp_path)}
        assert all(finding.is_good for finding in findings.values()), findings
        assert findings["kafka topic"].found == "keeps 168 h"
        assert "Redis" in findings["clock"].found
        assert local_settings(tmp_path).kafka.bootstrap_servers == first["kafka"]["bootstrap_servers"]
    finally:
        stopped = stop_stack(tmp_path)

    assert sorted(stopped) == ["kafka", "valkey"]
    assert stack_status(tmp_path) == {"kafka": None, "valkey": None}
    assert stop_stack(tmp_path) == []
    assert not all(finding.is_good for finding in diagnose(tmp_path))


def test_a_foreign_process_on_the_port_is_named_and_left_alone(tmp_path: Path) -> None:
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()

        with pytest.raises(LocalStackError, match=r"taken by process \d+, which is not ours"):
            start_valkey(tmp_path, port=foreign.getsockname()[1])

        assert foreign.fileno() > 0


def test_a_stale_pid_file_is_not_believed(tmp_path: Path) -> None:
    process = psutil.Process()
    (tmp_path / "valkey.pid.json").write_text(json.dumps({"pid": process.pid, "started": process.create_time() - 100}))

    assert running_pid(tmp_path, "valkey") is None
    try:
        start_valkey(tmp_path, port=free_port())
        assert running_pid(tmp_path, "valkey") not in {None, process.pid}
    finally:
        stop_stack(tmp_path)


def test_a_benchmark_that_is_terminated_leaves_no_server(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "afterclick.cli", "bench", "memory", "--quick", "--json"]
    with subprocess.Popen(command, env={**os.environ, "TMPDIR": str(tmp_path)}, stderr=subprocess.DEVNULL) as bench:  # noqa: S603, TID251
        wait_until(lambda: running_pid(next(tmp_path.glob("afterclick-bench-*"), tmp_path), "kafka") is not None)
        servers = psutil.Process(bench.pid).children(recursive=True)
        bench.terminate()
        assert bench.wait(60) == 128 + signal.SIGTERM

    assert len(servers) >= 2
    assert psutil.wait_procs(servers, timeout=30)[1] == []
