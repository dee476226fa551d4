"""The cache follows the subject store: people who withdrew are cleared until it is done, withdrawn items are told."""

import asyncio
import logging
from collections.abc import Mapping

from afterclick.connectors.redis_erasure import RedisEraser
from afterclick.connectors.subject_store import SubjectStore, open_subject_store
from afterclick.connectors.withdrawn_items import WithdrawnItems
from afterclick.consent_rules import Claim
from afterclick.errors import StoreUnavailableError
from afterclick.pseudonyms import RawId
from afterclick.settings import Settings

logger = logging.getLogger(__name__)

POLL_SECONDS = 1.0


def clear_withdrawn(store: SubjectStore, eraser: RedisEraser) -> int:
    """Empty the lists of people who withdrew since the last call; returns their number.

    1. Redis, 2. the note that it is done: a crash between the two repeats the first.
    """
    waiting = store.unfollowed()
    closed = {w.subject_id for w in waiting if w.is_standing}  # of either purpose: lists need both
    opened = {w.subject_id for w in waiting if not w.is_standing} - closed
    if closed:
        eraser.forget(sorted(closed))
    if opened:
        eraser.open_again(sorted(opened))
    if waiting:
        store.mark_followed([w.number for w in waiting])
        logger.info("consent changes followed withdrawn=%d granted=%d", len(closed), len(opened))
    return len(closed)


async def keep_following(settings: Settings) -> None:
    """Do so every second for ever, and tell the API which items are withdrawn where it does not know."""
    store, eraser, items = open_subject_store(settings), RedisEraser(settings.redis), WithdrawnItems(settings)
    while True:
        try:
            await asyncio.to_thread(clear_withdrawn, store, eraser)
            if await asyncio.to_thread(items.publish):
                logger.info("withdrawn items told to the API anew")
        except StoreUnavailableError as error:
            logger.warning("withdrawals not followed yet: %s", error)
        await asyncio.sleep(POLL_SECONDS)


def change_consent(settings: Settings, identifier: RawId, said: Mapping[str, bool], *, source: str) -> None:
    """Record what a person said expressly, and let the cache follow now.

    Parameters
    ----------
    said
        Granted or not by purpose.
    """
    store = open_subject_store(settings)
    store.admit([Claim(identifier, said, store.now_ms(), source)])
    clear_withdrawn(store, RedisEraser(settings.redis))
