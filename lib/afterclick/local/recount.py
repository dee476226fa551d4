"""Where a replay's events ended up, counted in the tables themselves."""

from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from afterclick.connectors import delta_tables
from afterclick.settings import Settings


def recount(spark: SparkSession, settings: Settings) -> dict[str, int]:
    """Count the replay's events by where they ended up, from the tables themselves."""
    tables = {
        n: delta_tables.read_table(spark, settings, n)
        for n in ("events", "late_events", "quarantine", "sessions", "ledger")
    }
    ours = f"topic = '{settings.kafka.events_topic}'"
    late = tables["late_events"].select("event_id", F.lit(True).alias("is_late"))
    on_time = tables["events"].where(ours).select("event_id", F.lit(False).alias("is_late"))
    accepted = on_time.unionAll(late)
    counted = accepted.selectExpr("count(*)", "count(DISTINCT event_id)", "count_if(is_late)").first() or (0, 0, 0)
    ledger = tables["ledger"].where("query = 'ingest_events'")
    sums = ledger.selectExpr("sum(no_consent)", "sum(duplicates)", "sum(consumed)").first() or (0, 0, 0)
    return {
        "events_in_delta": counted[0],
        "distinct_events_in_delta": counted[1],
        "events_late": counted[2],  # of them
        "events_in_quarantine": tables["quarantine"].where(ours).count(),
        "without_consent_in_stream": int(sums[0] or 0),
        "duplicates": int(sums[1] or 0),
        "consumed": int(sums[2] or 0),
        "sessions_closed": tables["sessions"].count(),
    }
