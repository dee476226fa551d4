"""Erasure requests -> nothing left of the people, store by store, with receipts; withdrawn people's rows go too.

Reads       subject store: requests and receipts
Writes      all personal tables, Redis, receipts      ``removals`` says how many rows of which batch went
Repeating   safe at any point: each step is done until its receipt says so
"""

import logging
import sys
from collections.abc import Sequence

from pyspark.sql import SparkSession

from afterclick.connectors.delta_erasure import BY_PERSONALISATION, delete_people, find_tables, personal_tables
from afterclick.connectors.delta_tables import ensure_tables
from afterclick.connectors.erasure_store import ErasureStore
from afterclick.connectors.removals import RemovalReason
from afterclick.connectors.subject_store import open_subject_store
from afterclick.erasure import advance
from afterclick.job_runner import job_context
from afterclick.settings import Settings
from afterclick.vocabulary import Purpose

logger = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Advance every request that is not finished."""
    with job_context("erase_subjects", argv) as (spark, settings):
        ensure_tables(spark, settings)
        for purpose in Purpose:
            remove_withdrawn(spark, settings, purpose)
        erase_pending(spark, settings)
    return 0


def remove_withdrawn(spark: SparkSession, settings: Settings, purpose: Purpose) -> int:
    """Delete the rows that people who withdrew had allowed; their old files go with the tables' next vacuum.

    1. the tables, 2. the note that it is done.
    """
    store = open_subject_store(settings)
    waiting = store.unremoved(purpose)
    subject_ids = sorted({row.subject_id for row in waiting})
    tables = BY_PERSONALISATION if purpose is Purpose.PERSONALISATION else personal_tables()
    for table in find_tables(spark, settings, tables, subject_ids):
        delete_people(spark, settings, table, subject_ids, RemovalReason.WITHDRAWAL)
    store.mark_removed([row.number for row in waiting])
    logger.info("withdrawn people removed from tables purpose=%s count=%d", purpose, len(subject_ids))
    return len(subject_ids)


def erase_pending(spark: SparkSession, settings: Settings) -> int:
    """Advance every request with a store that is not clean; returns the number of those left."""
    store = ErasureStore(open_subject_store(settings))
    left = 0
    for erasure in store.read():
        known = store.receipts(erasure.erasure_id).values()
        if erasure.subject_ids or any(receipt.clean_ms is None for receipt in known):
            receipts = advance(spark, settings, erasure)
            waiting = [receipt.store for receipt in receipts if receipt.clean_ms is None]
            left += bool(waiting)
            logger.info("erasure advanced id=%s waiting=%s", erasure.erasure_id, ",".join(waiting) or "none")
    return left


if __name__ == "__main__":
    sys.exit(main())
