"""Keys of shards of people that Spark's shuffle puts on different partitions, so that all cores work."""

from pyspark.sql import Column, SparkSession
from pyspark.sql import functions as F

EVEN = 2**6 * 3**2 * 5**2 * 7
"""A key's hash leaves its shard's number by this, and so by each of its divisors: usual numbers of partitions."""
_TRIED = 30 * EVEN
_found: dict[int, list[int]] = {}


def shard_key(spark: SparkSession, person: str, shards: int) -> Column:
    """Return the key of each row's shard.

    Parameters
    ----------
    person
        Column whose hash says the shard.

    Notes
    -----
    Spark's shuffle puts a key on partition ``pmod(hash(key), partitions)``. The numbers of shards as keys fall as they may:
    0 and 1 both on the second of two, 0 to 15 on ten of sixteen. Keys must not change while a checkpoint lives.
    """
    number = F.pmod(F.xxhash64(person), F.lit(shards)).cast("int")
    return F.get(F.array(*map(F.lit, shard_keys(spark, shards))), number)


def shard_keys(spark: SparkSession, shards: int) -> list[int]:
    """Return the key of each shard: the least whole number of 0 and more whose hash leaves the shard's by `EVEN`."""
    if shards not in _found:
        key = F.col("id").cast("int")
        tried = spark.range(_TRIED).select(key.alias("key"), F.pmod(F.hash(key), F.lit(EVEN)).alias("shard"))
        rows = tried.where(F.col("shard") < shards).groupBy("shard").agg(F.min("key").alias("key")).collect()
        key_of = {row["shard"]: row["key"] for row in rows}
        _found[shards] = [key_of[shard] for shard in range(shards)]
    return _found[shards]
