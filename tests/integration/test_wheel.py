"""The wheel by itself, without the repository: it has what `afterclick init` copies."""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from afterclick.new_project import write_project


def test_init_from_the_wheel_writes_what_it_writes_from_the_repository(tmp_path: Path) -> None:
    for name in ("conf", "jobs", "lib"):
        shutil.copytree(name, tmp_path / "source" / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(name, tmp_path / "source")
    build = [sys.executable, "-m", "uv", "build", "--quiet", "--wheel", "--out-dir", str(tmp_path), "source"]
    subprocess.run(build, check=True, cwd=tmp_path)  # noqa: S603
    shutil.rmtree(tmp_path / "source")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(tmp_path / "installed")

    command = [sys.executable, "-m", "afterclick.cli", "init", "shop", "--json"]
    variables = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}  # noqa: TID251 - handed on
    done = subprocess.run(command, check=True, cwd=tmp_path, env=variables, capture_output=True)  # noqa: S603

    assert json.loads(done.stdout)["written"] == [str(file) for file in write_project(tmp_path / "from_repository")]
    assert (tmp_path / "shop" / "conf" / "base.yaml").read_bytes() == Path("conf/base.yaml").read_bytes()
