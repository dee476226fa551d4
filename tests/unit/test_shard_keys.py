"""Shards on partitions: as many partitions work as can."""

import pytest
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.shard_keys import shard_keys


@pytest.mark.parametrize(("shards", "partitions"), [(1, 2), (2, 2), (8, 8), (16, 32), (64, 64), (50, 200), (9, 3)])
def test_shards_fall_on_as_many_partitions_as_there_are_of_either(
    spark: SparkSession, shards: int, partitions: int
) -> None:
    keys = spark.createDataFrame([(key,) for key in shard_keys(spark, shards)], "key int")

    placed = keys.repartition(partitions, "key").groupBy(F.spark_partition_id().alias("partition")).count().collect()

    assert len({row["partition"] for row in placed}) == min(shards, partitions)
    assert max(row["count"] for row in placed) == -(-shards // partitions)
