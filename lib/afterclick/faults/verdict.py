"""The counts of a fault run, each of which must be 0."""

from typing import Any

from afterclick.connectors.checkpoints import end_offsets
from afterclick.connectors.ledger import FAULTS, check_ledger
from afterclick.faults import joins, rebuild
from afterclick.faults.client import LoadLedger
from afterclick.local.jars import default_cache_dir, spark_jars
from afterclick.settings import Settings
from afterclick.spark_session import build_spark

COUNTS = ("lost", "doubled", "invented", "overlap", "imbalance", "replay_diff", "stale", "regressions")


def judge(settings: Settings, ledger: LoadLedger, version: str) -> dict[str, Any]:
    """Join the load with the tables, build all of them again from the first offset, and the cache from the tables."""
    from jobs.warm_cache import warm  # noqa: PLC0415 - jobs import connectors, we sit above

    spark = build_spark("faults", settings.spark, jars=spark_jars(default_cache_dir()))
    try:
        events = joins.join_events(spark, settings, ledger)
        quarantine = joins.join_quarantine(spark, settings, ledger)
        sessions = joins.join_sessions(spark, settings)
        balance = check_ledger(spark, settings)
        total = sum(end_offsets(settings.kafka.bootstrap_servers, settings.kafka.events_topic).values())
        first = joins.table_hashes(spark, settings)
        before = rebuild.cached(settings)
        rebuild.wipe(settings)
        warm(spark, settings, version)
        after = rebuild.cached(settings)
        again = rebuild.elsewhere(settings, settings.state_dir.resolve() / "again")
        rebuild.rebuild_tables(spark, again, seconds=600.0)
        second = joins.table_hashes(spark, again)
    finally:
        spark.stop()
    differing = {name: (first[name][0], second[name][0]) for name in first if first[name] != second[name]}
    return {
        "lost": events["lost"] + quarantine["lost"],
        "doubled": events["doubled"] + quarantine["doubled"] + sessions["doubled"],
        "invented": events["invented"] + quarantine["invented"],
        "overlap": sessions["overlap"],
        "imbalance": sum(balance[name] for name in FAULTS) + abs(total - balance["consumed"]),
        "replay_diff": sum(max(1, abs(one - other)) for one, other in differing.values()),
        "stale": rebuild.differences(before, after),
        "misfiled": events["misfiled"] + quarantine["misfiled"],
        "poison": quarantine["poison"],
        "rows": {name: rows for name, (rows, _) in first.items()},
        "differing_tables": differing,
        "people_cached": len(before) // 2,
        "duplicates": balance["duplicates"],
    }
