"""A new model version takes over, or the one before comes back: nobody's events are missed on the way.

1. `VersionPointer.announce`: from now on everybody who acts is noted as behind in the version.
2. Its lists are written: by jobs/warm_cache.py for a new version; those of the version before are still there.
3. `take_over`: the lists of those behind are made anew until nobody is behind, then the pointer moves.

No Spark here: going back must not wait for a session to start.
"""

import logging
import time
from collections.abc import Callable

from afterclick.comparison import NO_COMPARISON, Comparison
from afterclick.connectors.redis_store import RedisStore
from afterclick.connectors.version_pointer import VersionPointer
from afterclick.errors import ModelNotFoundError
from afterclick.recommendations import Recommender
from afterclick.settings import Settings

logger = logging.getLogger(__name__)
_PAGE = 500
_PASSES = 200
_PAUSE_SECONDS = 0.005


def catch_up(
    store: RedisStore,
    recommender: Recommender,
    *,
    now_ms: int,
    most: int | None = None,
    comparison: Comparison = NO_COMPARISON,
) -> int:
    """Make the lists of people who are behind in the recommender's version; return how many were made.

    Parameters
    ----------
    most
        Lists to make at most; None goes on until nobody is behind at the moment.
    comparison
        By whose sides people's lists are made.
    """
    pointer, made = VersionPointer(store), 0
    while most is None or made < most:
        subjects = pointer.behind(recommender.model.version, _PAGE)
        if not subjects:
            return made
        histories = store.read_histories(subjects)
        made += pointer.write_fresh(subjects, histories, comparison.lists(recommender, subjects, histories, now_ms))
    return made


def take_over(store: RedisStore, recommender: Recommender, settings: Settings) -> int:
    """Serve the recommender's version, announced and warmed before, once nobody is behind; return the lists made.

    1. the popular list and the item ids, 2. lists of those behind, 3. the pointer, 4. the obsolete version's lists are deleted.

    Raises
    ------
    VersionMovedError
        If another version has been announced since.

    Notes
    -----
    Under a stream so dense that somebody is always behind, the pointer moves after `_PASSES` passes all the same, and
    the few lists left are made within milliseconds: until then they lack the last event, as any list does for a moment.
    """
    pointer, version, comparison = VersionPointer(store), recommender.model.version, Comparison.of(settings.serving)
    store.write_popular(recommender.popular(_now_ms()))
    store.write_items(version, recommender.item_ids)
    made = 0
    for attempt in range(_PASSES):
        made += catch_up(store, recommender, now_ms=_now_ms(), comparison=comparison)
        done, obsolete = pointer.switch(
            version, keep_seconds=settings.promotion.rollback_hours * 3600, though_behind=attempt == _PASSES - 1
        )
        if done:
            break
        time.sleep(_PAUSE_SECONDS)
    made += catch_up(store, recommender, now_ms=_now_ms(), comparison=comparison)
    if obsolete and obsolete not in pointer.versions():
        dropped = pointer.drop_lists(obsolete)
        logger.info("obsolete lists deleted version=%s lists=%d", obsolete, dropped)
    logger.info("model served version=%s caught_up=%d", version, made)
    return made


def go_back(
    store: RedisStore, read_recommender: Callable[[str], Recommender], settings: Settings
) -> tuple[str, str, int]:
    """Serve the version before again, with everything that arrived since.

    Returns
    -------
    left, served, lists
        The version that was served, the one that is, and how many lists were made anew.

    Raises
    ------
    ModelNotFoundError
        If no version is kept for going back.
    """
    pointer = VersionPointer(store)
    served, _, previous = pointer.versions()
    if previous is None or served is None:
        message = (
            f"there is no version to go back to: {served or 'nothing'} is served and the one before is kept for "
            f"{settings.promotion.rollback_hours} hours only. Promote an older one: `afterclick model promote VERSION`."
        )
        raise ModelNotFoundError(message)
    recommender = read_recommender(previous)
    pointer.announce(previous)
    return served, previous, take_over(store, recommender, settings)


def _now_ms() -> int:
    return int(time.time() * 1000)
