"""Kafka as a streaming source."""

from pyspark.sql import DataFrame, SparkSession

from afterclick.kafka_security import spark_options
from afterclick.setting_sections import KafkaSettings


def read_event_stream(spark: SparkSession, kafka: KafkaSettings) -> DataFrame:
    """Return the raw messages of the events topic, from its beginning on a new checkpoint.

    Notes
    -----
    ``failOnDataLoss`` stays true: when retention removed messages we had not read, the query must
    stop instead of going on with a hole (docs/operations.md).

    ``fetch.max.wait.ms`` is 1 instead of 500: Spark asks for the offset range after each poll, on the connection on
    which the consumer has already begun to wait for the next records, and the broker answers one after the other. A
    task waited until its partition got something new (docs/decisions/0001-query-split.md).
    """
    reader = (
        spark.readStream.format("kafka")
        .option("subscribe", kafka.events_topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("kafka.fetch.max.wait.ms", "1")
    )
    reader = reader.option("maxOffsetsPerTrigger", kafka.max_offsets_per_trigger)
    return reader.options(**spark_options(kafka)).load()
