"""Which model version is served, which comes next and which was before: a switch in atomic steps.

====================================  =====================================================
``{prefix}model``                     served version
``{prefix}next``                      announced version, being warmed
``{prefix}previous``                  version served before; expires with the time for rolling back
``{prefix}behind:{version}``          people who acted since their list of the next or previous version was made;
                                      `redis_store` adds them in the step that writes history and list
``{prefix}warmed:{version}``          finished parts of a warming, so that it can be resumed
====================================  =====================================================

docs/decisions/0041-switch.md says why.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from afterclick.connectors.redis_scripts import ANNOUNCE, REFRESH, SWITCH
from afterclick.connectors.redis_store import (
    RedisStore,
    StoredHistory,
    history_key,
    items_key,
    list_key,
    pointer_key,
    popular_key,
    translated,
)
from afterclick.errors import VersionMovedError
from afterclick.list_records import TopList, pack_list

_DAY = 86_400


class Versions(NamedTuple):
    """What the pointer says; None where there is none."""

    served: str | None
    next: str | None
    previous: str | None


class VersionPointer:
    """Commands on the served, next and previous version.

    Every method raises `StoreUnavailableError` when Redis cannot be reached or refuses.
    """

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self._client = store.client
        self._prefix = store.settings.prefix
        self._list_ttl = store.settings.list_ttl_days * _DAY

    def versions(self) -> Versions:
        """Return what is served, announced and kept for rolling back, of one moment."""
        with translated():
            values: list[Any] = self._client.mget([self._key("model"), self._key("next"), self._key("previous")])
        return Versions(*(value.decode() if value else None for value in values))

    def announce(self, version: str) -> None:
        """Say that a version is being warmed: from now on people who act are noted as behind in it.

        Repeating it goes on with what was done; after another announcement it begins anew.
        """
        keys = [self._key("next"), self._key("previous"), *map(self._of(version), ("warmed", "behind"))]
        with translated():
            self._client.eval(ANNOUNCE, 4, *keys, version)

    def warmed_parts(self, version: str) -> set[int]:
        """Return the finished parts of a version's warming."""
        with translated():
            parts: Any = self._client.smembers(self._of(version)("warmed"))
        return {int(part) for part in parts}

    def mark_warmed(self, version: str, part: int) -> None:
        """Note a part as finished."""
        key = self._of(version)("warmed")
        with translated():
            self._client.sadd(key, part)
            self._client.expire(key, self._list_ttl)

    def behind(self, version: str, most: int) -> list[str]:
        """Return up to `most` people who are behind in a version."""
        with translated():
            found: Any = self._client.srandmember(self._of(version)("behind"), most)
        return [subject.decode() for subject in found]

    def count_behind(self, version: str) -> int:
        """Return how many people are behind in a version."""
        with translated():
            return int(self._client.scard(self._of(version)("behind")))

    def write_fresh(self, subjects: Sequence[str], histories: Sequence[StoredHistory], lists: Sequence[TopList]) -> int:
        """Store lists of people who were behind, where the history is still the one that was read; return how many."""
        pipeline = self._client.pipeline(transaction=False)
        for subject, history, top in zip(subjects, histories, lists, strict=True):
            version = top.model_version
            keys = history_key(self._prefix, subject), list_key(self._prefix, version, subject)
            arguments = history.revision, pack_list(top, self._store.read_items(version)), self._list_ttl, subject
            pipeline.eval(REFRESH, 3, *keys, self._of(version)("behind"), *arguments)
        with translated():
            return sum(pipeline.execute())

    def switch(self, version: str, *, keep_seconds: int, though_behind: bool = False) -> tuple[bool, str | None]:
        """Serve an announced version if nobody is behind in it, in one step.

        Returns
        -------
        is_served
            False when somebody is behind: catch up and try again.
        obsolete
            The version that was kept for rolling back until now, if any.

        Raises
        ------
        VersionMovedError
            If another version has been announced since.
        """
        pointers = [self._key("model"), self._key("next"), self._key("previous")]
        keys = [*pointers, *map(self._of(version), ("behind", "warmed"))]
        arguments = version, keep_seconds, int(though_behind), items_key(self._prefix, ""), self._list_ttl
        with translated():
            answer: Any = self._client.eval(SWITCH, 5, *keys, *arguments)
        status, other = answer[0], answer[1].decode() or None
        if status < 0:
            message = (
                f"model version {version} cannot be served: {other or 'no version'} is announced, so somebody else "
            )
            raise VersionMovedError(message + "is switching. Warm this version again once that has ended.")
        return bool(status), other

    def drop_lists(self, version: str) -> int:
        """Delete a version's lists; return how many."""
        pattern = list_key(_escaped(self._prefix), _escaped(version), "*")
        dropped = 0
        with translated():
            pages = _paged(self._client.scan_iter(pattern, count=1000), 1000)
            for page in pages:
                dropped += int(self._client.unlink(*page))
            own = popular_key(self._prefix, version), items_key(self._prefix, version)
            self._client.unlink(*own, *map(self._of(version), ("behind", "warmed")))
        return dropped

    def _key(self, name: str) -> bytes:
        return pointer_key(self._prefix) if name == "model" else f"{self._prefix}{name}".encode()

    def _of(self, version: str) -> Any:
        return lambda name: f"{self._prefix}{name}:{version}".encode()


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)


def _paged(keys: Any, size: int) -> Any:
    page: list[bytes] = []
    for key in keys:
        page.append(key)
        if len(page) == size:
            yield page
            page = []
    if page:
        yield page
