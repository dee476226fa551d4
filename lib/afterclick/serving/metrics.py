"""What Prometheus reads of the API."""

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram


class Metrics:
    """Counters and times of one process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.lists = Counter("afterclick_serving_lists", "Lists served by source.", ["source"], registry=self.registry)
        self.lists_of = cache(self.lists.labels)
        self.errors = Counter("afterclick_serving_store_errors", "Requests without the store.", registry=self.registry)
        self.seconds = Histogram("afterclick_serving_request_seconds", "Time to answer.", registry=self.registry)
        self.unlogged = Counter(
            "afterclick_serving_unlogged_lists", "Lists shown but not logged.", registry=self.registry
        )
