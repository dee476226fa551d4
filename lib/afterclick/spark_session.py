"""The one way to build a Spark session, for jobs and tests alike."""

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyspark.sql import SparkSession

from afterclick.local.jars import default_cache_dir, file_system_jars
from afterclick.local.java import find_java

_FOR_SPARK = {
    "PYSPARK_PYTHON": sys.executable,
    "PYSPARK_DRIVER_PYTHON": sys.executable,
    "OPENBLAS_NUM_THREADS": "1",  # one Python worker per core already
    # Spark puts our frames together, column by column; what pandas says of empty columns is for Spark to read.
    "PYTHONWARNINGS": "ignore::FutureWarning:pyspark.sql.pandas.serializers",
    "SPARK_LOCAL_IP": "127.0.0.1",  # a worker's and the driver's sockets stay on loopback; a cluster sets its own
}


def build_spark(app_name: str, conf: Mapping[str, str], *, jars: Sequence[Path] = ()) -> SparkSession:
    """Return a session with the given configuration and UTC as its time zone.

    Parameters
    ----------
    app_name
        Shown in the Spark UI and in the logs.
    conf
        Spark configuration; see the reasons in ``conf/*.yaml``.
    jars
        Local connector jars (`local.jars.spark_jars`); with them come Java and the local file system; empty under
        ``spark-submit``, which brings all three.
    """
    environ = os.environ  # noqa: TID251 - what Spark itself reads
    environ["TZ"] = "UTC"
    for name, value in _FOR_SPARK.items():
        environ.setdefault(name, value)
    if jars:
        environ["JAVA_HOME"] = str(find_java(default_cache_dir()))
        files = ":".join(map(str, file_system_jars(default_cache_dir())))
        conf = {**conf, "spark.jars": ",".join(map(str, jars)), "spark.driver.extraClassPath": files}
    builder = SparkSession.builder.appName(app_name)
    for key, value in conf.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
