"""The age of the served model as Prometheus reads it."""

import pytest
from prometheus_client import CollectorRegistry

from afterclick.errors import ModelNotFoundError
from afterclick.serving.model_age import ModelAge

NAME = "afterclick_serving_model_timestamp_seconds"


@pytest.mark.parametrize(
    ("version", "timestamp"), [("20261124T230501-9f3a", 1795561501.0), ("v1", None), ("", None), ("20261341T-1", None)]
)
def test_time_is_read_from_the_version(version: str, timestamp: float | None) -> None:
    registry = CollectorRegistry()
    registry.register(ModelAge(lambda: version))

    assert registry.get_sample_value(NAME) == timestamp


def test_no_model_is_no_sample() -> None:
    def none() -> str:
        raise ModelNotFoundError("none")

    registry = CollectorRegistry()
    registry.register(ModelAge(none))

    assert registry.get_sample_value(NAME) is None
