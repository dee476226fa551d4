"""Raw Kafka messages -> typed columns. Nothing is dropped here: what does not fit is marked.

From `connectors.kafka_source`; next `quality.flag_violations`, which names what is wrong.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import StringType, StructField, StructType

from afterclick.schemas import DECODED_EVENT, EVENT, EVENT_MESSAGE

_CORRUPT = "_corrupt"
_STRICT = {"columnNameOfCorruptRecord": _CORRUPT, "allowNonNumericNumbers": "false", "allowSingleQuotes": "false"}
_ISO_8601 = r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:?\d{2})$"


def decode_events(raw: DataFrame) -> DataFrame:
    """Return one row of `schemas.DECODED_EVENT` per Kafka message, good or bad.

    Notes
    -----
    A value of the wrong type makes the whole message not well formed: Spark alone would turn that
    one field into null and so hide it. The text is read as the one field of an object around it:
    on its own Spark would read the first object and not look at what follows.
    """
    wanted = StructType([StructField("message", EVENT_MESSAGE), StructField(_CORRUPT, StringType())])
    text = F.concat(F.lit('{"message":'), F.col("value").cast("string"), F.lit("}"))
    parsed = raw.withColumn("_parsed", F.from_json(text, wanted, _STRICT))
    is_well_formed = F.col("_parsed.message").isNotNull() & F.col(f"_parsed.{_CORRUPT}").isNull()
    columns = {
        **{field.name: F.col(f"_parsed.message.{field.name}") for field in EVENT_MESSAGE},
        "event_at": iso_timestamp(F.col("_parsed.message.event_at")),
        "received_at": iso_timestamp(F.col("_parsed.message.received_at")),
        "is_well_formed": F.coalesce(is_well_formed, F.lit(False)),
        "topic": F.col("topic"),
        "kafka_partition": F.col("partition"),
        "kafka_offset": F.col("offset"),
        "kafka_at": F.col("timestamp"),
        "raw_key": F.col("key"),
        "raw_value": F.col("value"),
    }
    return parsed.select(*[columns[field.name].alias(field.name) for field in DECODED_EVENT])


def iso_timestamp(text: Column) -> Column:
    """UTC timestamp of an ISO 8601 string with an offset, null where it is anything else."""
    return F.when(text.rlike(_ISO_8601), text.try_cast("timestamp"))


def select_events(decoded: DataFrame, *more: str) -> DataFrame:
    """Return rows of `schemas.EVENT`, and columns `more`, from checked rows of `schemas.DECODED_EVENT`."""
    dated = decoded.withColumn("event_date", F.to_date("event_at"))
    return dated.select(*EVENT.names, *more)
