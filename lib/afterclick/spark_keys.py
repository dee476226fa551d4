"""Spark's own settings in variables of the environment: those are often written in capitals, Spark's keys are not."""

from collections.abc import Iterable

from afterclick.errors import SettingsError

COMMON = (
    "spark.driver.cores",
    "spark.driver.defaultJavaOptions",
    "spark.driver.extraJavaOptions",
    "spark.driver.maxResultSize",
    "spark.driver.memory",
    "spark.dynamicAllocation.enabled",
    "spark.eventLog.dir",
    "spark.eventLog.enabled",
    "spark.executor.cores",
    "spark.executor.extraJavaOptions",
    "spark.executor.instances",
    "spark.executor.memory",
    "spark.executor.memoryOverhead",
    "spark.hadoop.fs.s3a.endpoint",
    "spark.jars",
    "spark.jars.packages",
    "spark.local.dir",
    "spark.master",
    "spark.sql.shuffle.partitions",
    "spark.sql.warehouse.dir",
    "spark.ui.enabled",
    "spark.ui.port",
)
"""Keys that are found in any spelling, beside those in the YAML files."""


def spark_key(given: str, known: Iterable[str]) -> str:
    """Return a key as Spark spells it.

    Parameters
    ----------
    given
        What follows ``AFTERCLICK_SPARK__``. In capitals, or with ``_`` where Spark has a dot (a shell exports no
        dots), it is looked up in `known` and `COMMON`; any other key that begins with ``spark.`` is taken as it is.

    Raises
    ------
    SettingsError
        If Spark's spelling cannot be known: it ignores a key in other letters without a word.
    """
    spellings = {_plain(key): key for key in (*COMMON, *known)}
    if found := spellings.get(_plain(given)):
        return found
    if given.startswith("spark."):
        return given
    message = (
        f"AFTERCLICK_SPARK__{given}: Spark's spelling of this key is not known, and Spark would ignore it in other "
        "letters. Write it as Spark's documentation does (AFTERCLICK_SPARK__spark.eventLog.enabled, set by env(1) or "
        "the scheduler), or under `spark:` in conf/<environment>.yaml."
    )
    raise SettingsError(message)


def _plain(key: str) -> str:
    return key.lower().replace("_", ".")
