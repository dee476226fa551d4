"""Kafka as a streaming source."""

from pyspark.sql import DataFrame, SparkSession

from afterclick.settings import KafkaSettings


def read_event_stream(spark: SparkSession, kafka: KafkaSettings) -> DataFrame:
    """Return the raw messages of the events topic, from its beginning on a new checkpoint.

    Notes
    -----
    ``failOnDataLoss`` stays true: when retention removed messages we had not read, the query must
    stop instead of going on with a hole (docs/operations.md).
    """
    reader = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", kafka.bootstrap_servers)
        .option("subscribe", kafka.events_topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
    )
    reader = reader.option("maxOffsetsPerTrigger", kafka.max_offsets_per_trigger)
    for key, value in kafka.options.items():
        reader = reader.option(f"kafka.{key}", value)
    return reader.load()
