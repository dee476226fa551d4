"""A list that was read or computed becomes an answer: rules of the request and its placement, exploration, token, log."""

import random
import time
import uuid
from collections.abc import Callable, Collection
from datetime import datetime
from functools import partial

from afterclick.attribution import Attribution, attribution_key, sign
from afterclick.errors import StoreUnavailableError
from afterclick.histories import History
from afterclick.list_records import TopList
from afterclick.pseudonyms import RawId
from afterclick.serving.answers import Recommendations, build_answer, with_explanations
from afterclick.serving.choosing import MOST_OVER, Hidden, Rules
from afterclick.serving.list_reader import ListReader
from afterclick.serving.metrics import Metrics
from afterclick.serving.seen_memory import PersonRead
from afterclick.serving.shown_log import ShownLog
from afterclick.serving.wishes import PersonalWishes, Wishes
from afterclick.serving_settings import PlacementSettings
from afterclick.settings import Settings

_NO_RULES = PlacementSettings()
_UNREAD = PersonRead()


class ListMaker:
    """Makes answers.

    Parameters
    ----------
    log
        Where lists that are shown go; None = they are not logged, and have no token.
    """

    def __init__(
        self,
        reader: ListReader,
        settings: Settings,
        clock: Callable[[], datetime],
        metrics: Metrics,
        log: ShownLog | None,
    ) -> None:
        self.reader = reader
        self._rules = settings.serving
        self._clock = clock
        self._metrics = metrics
        self._log = log
        self._key = attribution_key(settings.privacy.pseudonym_key.get_secret_value().encode())

    def now_ms(self) -> int:
        """Return the time."""
        return int(self._clock().timestamp() * 1000)

    async def for_person(
        self, asked: RawId, wishes: PersonalWishes, exclude: tuple[str, ...], pin: tuple[str, ...]
    ) -> Recommendations:
        """Return somebody's list."""
        begun, now_ms = time.perf_counter(), self.now_ms()
        with_history = wishes.exclude_seen or wishes.explain
        read = await self.reader.read_person(asked, now_ms=now_ms, with_history=with_history)
        if read.is_store_away:
            self._metrics.errors.inc()
        unit = read.subject_id or f"{asked.kind}:{asked.text}"
        make = partial(self.make, exclude=exclude, pin=pin, read=read, unit=unit)
        try:
            answer = make(read.top, wishes)
        except StoreUnavailableError as error:
            self.reader.tell_unreadable(read.top.model_version if read.top else "", error)
            answer = make(None, wishes)
        if wishes.explain and read.history:
            answer = self.explained(answer, read.history.records, now_ms=now_ms)
        self._metrics.seconds.observe(time.perf_counter() - begun)
        return answer

    def make(
        self,
        top: TopList | None,
        wishes: Wishes,
        *,
        exclude: Collection[str] = (),
        pin: tuple[str, ...] = (),
        read: PersonRead = _UNREAD,
        unit: str | None = None,
    ) -> Recommendations:
        """Return the answer to a request.

        Parameters
        ----------
        top
            The list that is theirs; None: the popular one.
        unit
            Who is always in the same bucket; None: nobody is known.
        """
        now_ms = self.now_ms()
        popular = self.reader.popular(top.model_version if top else None)
        placement = self._rules.placements.get(wishes.placement or "", _NO_RULES)
        asks_seen = isinstance(wishes, PersonalWishes) and wishes.exclude_seen
        hidden = Hidden(
            frozenset(exclude).union(placement.blocked),
            self.reader.withdrawn,
            (read.seen or frozenset()) if asks_seen else frozenset(),
        )
        bucket = self.reader.models.comparison.side_of(unit) if unit else None
        share = 0.0 if wishes.dry_run else self._explored(placement, bucket)
        is_logged = self._log is not None and not wishes.dry_run
        list_id = uuid.uuid4().hex if share or is_logged else ""
        answer = build_answer(
            top,
            popular,
            rules=self._asked(wishes, placement, pin, reserve=self._rules.explore_reserve if share else 0),
            hidden=hidden,
            catalogue=self.reader.models.catalogue_of(popular.model_version),
            now_ms=now_ms,
            exploring=(share, random.Random(list_id)) if share else None,  # noqa: S311 - chance, no secret
        )
        if asks_seen and read.seen is None:
            answer.relaxed.append("exclude_seen")
        answer.placement, answer.bucket = wishes.placement, bucket
        if self._log and is_logged:
            answer.list_id, answer.attribution = list_id, sign(Attribution(list_id, now_ms), self._key)
            self._log.add(answer, now_ms)
        self._metrics.lists_of(answer.source).inc()
        return answer

    def looked_at(self, wishes: Wishes, exclude: Collection[str]) -> tuple[int, Collection[str]]:
        """Return how many places of a list an answer looks at, at most, and the items of the category it asks for first."""
        placement = self._rules.placements.get(wishes.placement or "", _NO_RULES)
        asked = self._asked(wishes, placement, (), reserve=self._rules.explore_reserve)
        hidden = len(exclude) + len(placement.blocked) + len(self.reader.withdrawn)
        over = 0 if asked.per_category is None else MOST_OVER + 1
        among = self.reader.models.catalogue.of_category.get(asked.category, ()) if asked.category is not None else ()
        return asked.n + asked.reserve + hidden + over, among

    def explained(self, answer: Recommendations, records: History, *, now_ms: int = 0) -> Recommendations:
        """Return the answer with the past items behind each place, where the model is in memory.

        Parameters
        ----------
        now_ms
            As for `Recommender.explain`: 0 = in the visit.
        """
        recommender = self.reader.models.recommender_of(answer.model_version, answer.bucket)
        if recommender is None:
            return answer
        listed = {item.item_id: item.reason for item in answer.items}
        return with_explanations(answer, recommender.explain(records, listed, now_ms=now_ms))

    def _explored(self, placement: PlacementSettings, bucket: str | None) -> float:
        own = self._rules.buckets[bucket].explore if bucket else None
        return next(share for share in (placement.explore, own, self._rules.explore) if share is not None)

    @staticmethod
    def _asked(wishes: Wishes, placement: PlacementSettings, pin: tuple[str, ...], *, reserve: int) -> Rules:
        return Rules(
            wishes.n,
            (*pin, *placement.pinned),
            wishes.category or placement.category,
            wishes.per_category or placement.per_category,
            reserve,
        )
