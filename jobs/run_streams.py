"""All three streams in one Spark application, for one machine.

FAIR pools: ``fast`` for recommendations, ``bulk`` for the rest, so that a list does not queue behind
a Delta commit. On a cluster start each job by its own ``spark-submit.sh`` instead.
"""

import sys
from collections.abc import Sequence

from afterclick.job_runner import job_context, run_stream
from jobs import build_sessions, ingest_events, update_recommendations


def main(argv: Sequence[str] | None = None) -> int:
    """Run until stopped; non-zero as soon as one query failed."""
    with job_context("run_streams", argv) as (spark, settings):
        queries = [job.start(spark, settings) for job in (update_recommendations, ingest_events, build_sessions)]
        return run_stream(*queries)


if __name__ == "__main__":
    sys.exit(main())
