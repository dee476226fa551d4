"""The shape of the log of lists that were shown."""

from pyspark.sql.types import ArrayType, DoubleType, LongType, StringType, TimestampType

from afterclick.schemas_fates import fields as schema

# One place of a list. `propensity`: the probability with which the item stood there; 1 where nothing is explored.
SHOWN_ITEM = schema(
    ("position", LongType(), True),
    ("item_id", StringType(), True),
    ("reason", StringType(), True),
    ("propensity", DoubleType(), True),
)

# The JSON value of a message on the topic ``serving.shown_topic``, as the API writes it.
SHOWN_MESSAGE = schema(
    ("list_id", StringType(), True),
    ("shown_ms", LongType(), True),
    ("placement", StringType(), True),
    ("bucket", StringType(), True),
    ("source", StringType(), True),
    ("model_version", StringType(), True),
    ("items", ArrayType(SHOWN_ITEM), True),
)

# One list that the API gave out. Key: `list_id`; twice only where the API's Kafka client repeated a message. It does not
# say whose list it was: the person's events name it (`events.list_id`). Null: what the request did not say.
SHOWN_LIST = schema(
    ("list_id", StringType(), False),
    ("shown_at", TimestampType(), False),
    ("placement", StringType(), True),
    ("bucket", StringType(), True),
    ("source", StringType(), False),
    ("model_version", StringType(), False),
    ("items", ArrayType(SHOWN_ITEM), False),
)
