"""The shape of what is measured of models on what people did; see `schemas`."""

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

# How far lists folded into an older model are from those of a full retrain, over one bin of people. Unique:
# (`served_version`, `retrained_version`, `grouped_by`, `bin`). `since` is when the served version was trained;
# `grouped_by` is all, history_length or hours (from `since` to a person's last event), `at_least` the bin's smallest
# value. Overlap and distance are of `people` who acted since then; nDCG, at ``promotion.list_length``, of the last
# `visits` of those kept out of training, by the history before. The gap is what the retrain gains. Null: means over
# nobody; the error of the gap of fewer than two visits.
PARITY = StructType(
    [
        StructField("measured_at", TimestampType(), nullable=False),
        StructField("since", TimestampType(), nullable=False),
        StructField("served_version", StringType(), nullable=False),
        StructField("retrained_version", StringType(), nullable=False),
        StructField("grouped_by", StringType(), nullable=False),
        StructField("bin", StringType(), nullable=False),
        StructField("at_least", LongType(), nullable=False),
        StructField("people", LongType(), nullable=False),
        StructField("overlap", DoubleType(), nullable=True),
        StructField("distance", DoubleType(), nullable=True),
        StructField("visits", LongType(), nullable=False),
        StructField("served_ndcg", DoubleType(), nullable=True),
        StructField("retrained_ndcg", DoubleType(), nullable=True),
        StructField("ndcg_gap", DoubleType(), nullable=True),
        StructField("ndcg_gap_error", DoubleType(), nullable=True),
    ]
)
