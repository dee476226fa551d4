"""Kafka as a streaming source."""

from pyspark.sql import DataFrame, SparkSession

from afterclick.kafka_security import spark_options
from afterclick.setting_sections import KafkaSettings

FEW_POLLS = {
    "kafka.max.poll.records": "50000",
    "kafka.max.partition.fetch.bytes": str(8 * 1024 * 1024),
    "kafka.fetch.max.wait.ms": "1",
}
"""Options of Spark's Kafka source. It asks for the range of offsets after each poll, 500 messages by default, and throws away
what its consumer has fetched beyond them; and it asks on the connection on which the consumer has already begun to wait
for the next messages, by default half a second, while the broker answers one after the other."""


def read_event_stream(spark: SparkSession, kafka: KafkaSettings, *, most: int) -> DataFrame:
    """Return the raw messages of the events topic, from its beginning on a new checkpoint.

    Parameters
    ----------
    most
        Upper bound of messages in one micro-batch.

    Notes
    -----
    ``failOnDataLoss`` stays true: when retention removed messages we had not read, the query must
    stop instead of going on with a hole (docs/operations.md).

    `FEW_POLLS` is for the bulk, and for not waiting where there is little (docs/decisions/0060-few-polls.md).
    """
    reader = (
        spark.readStream.format("kafka")
        .option("subscribe", kafka.events_topic)
        .option("startingOffsets", "earliest")
        .option("failOnDataLoss", "true")
        .option("maxOffsetsPerTrigger", most)
    )
    return reader.options(**(FEW_POLLS | spark_options(kafka))).load()
