"""Both HTTP interfaces as agreed."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from afterclick.collector import app as collector
from afterclick.collector.messages import Event
from afterclick.serving import app as serving
from afterclick.settings import Settings
from golden_files import assert_golden


class NoSink:
    async def publish(self, events: Sequence[Event]) -> None:
        raise NotImplementedError

    def is_ready(self) -> bool:
        return False

    def close(self) -> None:
        pass


def test_recommendation_api_is_as_agreed(settings: Settings) -> None:
    assert_golden("serving_openapi.json", json.dumps(serving.create_app(settings).openapi(), indent=1, sort_keys=True))


def test_collector_api_is_as_agreed(settings: Settings) -> None:
    app = collector.create_app(settings, NoSink(), lambda: datetime.now(UTC))

    assert_golden("collector_openapi.json", json.dumps(app.openapi(), indent=1, sort_keys=True))
