"""The shape of what is measured on live traffic; see `schemas`."""

from pyspark.sql.types import DoubleType, LongType, StringType, StructField, StructType, TimestampType

# How one model version fared on the visits since it, or the version measured against it, was switched to. Unique:
# (`measured_at`, `role`). `role` is champion, control (the version before) or challenger. Null: `evidence` of the
# champion itself; the shifts of other roles than champion.
RELEVANCE = StructType(
    [
        StructField("measured_at", TimestampType(), nullable=False),
        StructField("since", TimestampType(), nullable=False),
        StructField("role", StringType(), nullable=False),
        StructField("model_version", StringType(), nullable=False),
        StructField("visits", LongType(), nullable=False),
        StructField("hit_rate", DoubleType(), nullable=False),
        StructField("mean_reciprocal_rank", DoubleType(), nullable=False),
        StructField("coverage", DoubleType(), nullable=False),
        StructField("fallback_share", DoubleType(), nullable=False),
        StructField("evidence", DoubleType(), nullable=True),
        StructField("event_mix_psi", DoubleType(), nullable=True),
        StructField("popularity_psi", DoubleType(), nullable=True),
        StructField("popularity_ks", DoubleType(), nullable=True),
    ]
)
