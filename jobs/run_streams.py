"""All three streams, or some of them, in one Spark application, for one machine.

FAIR pools: ``fast`` for recommendations, ``bulk`` for the rest, so that a list does not queue behind
a Delta commit. The demo starts it twice, the bulk queries with a low priority of the operating system
(docs/decisions/0001-query-split.md). On a cluster start each job by its own ``spark-submit.sh`` instead.
"""

import argparse
import sys
from collections.abc import Sequence

from afterclick.job_runner import job_context, run_stream
from jobs import build_sessions, enrich_events, ingest_events, update_recommendations

JOBS = {job.QUERY: job for job in (update_recommendations, ingest_events, build_sessions, enrich_events)}


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero as soon as one query failed."""
    parser = argparse.ArgumentParser(prog="run_streams")
    parser.add_argument("--queries", nargs="+", choices=JOBS, default=list(JOBS), help="default: all")
    arguments, rest = parser.parse_known_args(argv)
    with job_context("-".join(arguments.queries), rest) as (spark, settings):
        queries = [JOBS[name].start(spark, settings) for name in arguments.queries]
        return run_stream(*queries, stalled_after_seconds=settings.streams.stalled_after_seconds)


if __name__ == "__main__":
    sys.exit(main())
