"""Asks the API for lists all the time: it must never answer 5xx, and no list may become older than it was."""

import itertools
import threading
import time
from collections import Counter
from typing import Any

import httpx

from afterclick.settings import Settings


class ListWatcher:
    """A client that remembers how fresh each person's list was."""

    def __init__(self, settings: Settings, people: list[str]) -> None:
        self._url = settings.serving.base_url
        self._people = people
        self._fresh: dict[str, str] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watcher", daemon=True)
        self.statuses: Counter[int] = Counter()
        self.sources: Counter[str] = Counter()
        self.regressions = 0
        self.slowest_s = 0.0

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join(timeout=20)

    def _run(self) -> None:
        with httpx.Client(base_url=self._url, timeout=10.0) as client:
            for person in itertools.cycle(self._people):
                if self._stopping.wait(0.05):
                    return
                begun = time.monotonic()
                try:
                    answer = client.get(f"/v1/recommendations/{person}", params={"n": 5})
                except httpx.HTTPError:
                    self.statuses[0] += 1
                    continue
                self.slowest_s = max(self.slowest_s, time.monotonic() - begun)
                self.statuses[answer.status_code] += 1
                if answer.status_code == httpx.codes.OK:
                    self._compare(person, answer.json())

    def _compare(self, person: str, answer: dict[str, Any]) -> None:
        """Note how fresh it is: it may be the popular one for a while, but one's own is never older than the last."""
        self.sources[answer["source"]] += 1
        fresh = answer["fresh_as_of"]
        if fresh is None or answer["source"] == "popular":
            return
        self.regressions += fresh < self._fresh.get(person, "")
        self._fresh[person] = max(fresh, self._fresh.get(person, ""))
