"""Consent as a column: what a person did not grant is not done (unknown = denied)."""

from pyspark.sql import Column
from pyspark.sql import functions as F

from afterclick.vocabulary import Purpose


def has_consent(purpose: Purpose) -> Column:
    """Tell whether `purpose` is among the granted ones of a row with a `consent` array."""
    granted = F.array_contains(F.col("consent"), F.lit(purpose.value))
    return F.coalesce(granted, F.lit(False))
