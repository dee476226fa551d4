"""A task of ``databricks.yml`` -> one of our jobs or commands.

``job NAME ARGUMENTS`` runs ``jobs/NAME.py``, ``command ARGUMENTS`` what ``afterclick ARGUMENTS`` does. Databricks takes any
`SystemExit`, even of 0, for a failure, and its session belongs to every task of the cluster: so this file instead of the jobs
themselves.
"""

import importlib
import sys
from collections.abc import Sequence


def main(argv: Sequence[str]) -> None:
    """Run a job or a command.

    Raises
    ------
    RuntimeError
        If it ends with another code than 0: the task is then marked as failed.
    """
    kind, *arguments = argv
    code = run_job(*arguments) if kind == "job" else run_command(arguments)
    if code:
        message = f"{' '.join(argv)} ended with {code}; its last log lines say why"
        raise RuntimeError(message)


def run_job(name: str, *arguments: str) -> int:
    """Return the exit code of a job, run in the session that the cluster has."""
    from pyspark.sql import SparkSession  # noqa: PLC0415 - a command needs none

    SparkSession.builder.getOrCreate()  # makes the given session the active one, which no job ends
    return int(importlib.import_module(f"jobs.{name}").main(arguments))


def run_command(arguments: Sequence[str]) -> int:
    """Return the exit code of a command of the program; its errors are raised as they are."""
    from afterclick.cli import app  # noqa: PLC0415 - a job needs none

    return int(app(list(arguments), standalone_mode=False) or 0)


if __name__ == "__main__":
    main(sys.argv[1:])
