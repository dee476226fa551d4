"""What is different where the session, the disks and Kafka's classes are somebody else's: Databricks."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from afterclick import job_runner
from afterclick.connectors.delta_tables import table_lock
from afterclick.kafka_security import spark_options
from afterclick.setting_sections import KafkaSettings
from conftest import installation_variables


class FakeSession:
    """Notes whether it was ended."""

    is_stopped = False

    def stop(self) -> None:
        self.is_stopped = True


@pytest.mark.parametrize("is_given", [True, False])
def test_a_job_ends_only_a_session_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_given: bool) -> None:
    session = FakeSession()
    monkeypatch.setattr(job_runner, "has_session", lambda: is_given)
    monkeypatch.setattr(job_runner, "build_spark", lambda *_, **__: session)
    for name, value in installation_variables(tmp_path).items():
        monkeypatch.setenv(name, value)

    with job_runner.job_context("test", []) as (spark, _):
        assert id(spark) == id(session)

    assert session.is_stopped is not is_given


def test_no_lock_is_held_in_a_volume() -> None:
    with table_lock("/Volumes/catalog/schema/volume/events"):
        assert not Path("/Volumes").exists()


def test_kafka_login_is_of_the_runtime_s_own_classes() -> None:
    kafka = KafkaSettings(
        bootstrap_servers="kafka:9093", username="streams", password=SecretStr("p"), class_prefix="kafkashaded."
    )

    login = spark_options(kafka)["kafka.sasl.jaas.config"]

    assert login.startswith("kafkashaded.org.apache.kafka.common.security.scram.ScramLoginModule required")
