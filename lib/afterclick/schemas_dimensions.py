"""The shape of catalogue and customers, and of events enriched by them."""

from pyspark.sql.types import ArrayType, BooleanType, DateType, DoubleType, LongType, StringType, TimestampType

from afterclick.schemas_fates import fields as schema

# One product of the catalogue. Key and unique: `item_id`. Null: what the importer did not say.
ITEM = schema(
    ("item_id", StringType(), False),
    ("name", StringType(), True),
    ("category", StringType(), True),
    ("price", DoubleType(), True),
    ("currency", StringType(), True),
    ("in_stock", BooleanType(), True),
    ("updated_at", TimestampType(), True),
)

# One customer. Key and unique: `subject_id`, the pseudonym of the events. Null: what the importer did not say.
CUSTOMER = schema(
    ("subject_id", StringType(), False),
    ("segment", StringType(), True),
    ("region", StringType(), True),
    ("updated_at", TimestampType(), True),
)

# One row of an imported file that its suite refused. Unique: (`import_id`, `line`). `row` is JSON.
REJECTED_ROW = schema(
    ("import_id", StringType(), False),
    ("table_name", StringType(), False),
    ("line", LongType(), False),
    ("reasons", ArrayType(StringType()), False),
    ("row", StringType(), False),
    ("rejected_at", TimestampType(), False),
)

# One item of one event with what the catalogue and the customers say of it. Unique: (`event_id`, `position`).
# `is_item_known` is false, and the item's columns are null, until the catalogue has the item. The customer's columns are
# null without consent to personalisation. Partitioned by `event_date`.
ENRICHED_ITEM = schema(
    ("event_id", StringType(), False),
    ("position", LongType(), False),
    ("event_type", StringType(), False),
    ("subject_id", StringType(), False),
    ("event_at", TimestampType(), False),
    ("item_id", StringType(), False),
    ("quantity", LongType(), True),
    ("price", DoubleType(), True),
    ("is_item_known", BooleanType(), False),
    ("item_name", StringType(), True),
    ("category", StringType(), True),
    ("list_price", DoubleType(), True),
    ("in_stock", BooleanType(), True),
    ("segment", StringType(), True),
    ("region", StringType(), True),
    ("event_date", DateType(), False),
)
