"""Configuration: each file loads, unknown keys fail, secrets are masked, the strongest source wins."""

from pathlib import Path

import pytest

from afterclick.errors import SettingsError
from afterclick.histories import EVENT_TYPE_CODES
from afterclick.setting_sections import RecommendationSettings
from afterclick.settings import load_settings, load_spark_conf
from afterclick.vocabulary import ITEM_EVENT_TYPES
from conftest import installation_variables

VARIABLES = installation_variables(Path("/tmp/afterclick-none"))  # noqa: S108 - never made


@pytest.mark.parametrize("environment", ["local", "cluster", "databricks"])
def test_every_environment_loads(environment: str) -> None:
    variables = {**VARIABLES, "AFTERCLICK_MODEL__TRACKING_URI": "sqlite://", "AFTERCLICK_PRIVACY__SUBJECT_STORE": "x"}

    assert load_settings(environment, variables=variables).environment == environment


def test_str_masks_every_secret() -> None:
    text = str(load_settings("local", variables=VARIABLES))

    for secret in ("a-test-key-of-at-least-32-bytes!", "test-write-key", "redis://127"):
        assert secret not in text


@pytest.mark.parametrize(
    "key",
    [
        "spark.hadoop.fs.s3a.secret.key",
        "spark.hadoop.fs.s3a.access.key",
        "spark.ssl.keyStorePassword",
        "spark.executorEnv.AWS_SESSION_TOKEN",
        "spark.executorEnv.GOOGLE_CREDENTIALS",
    ],
)
def test_str_masks_secrets_of_spark_and_nothing_else(key: str) -> None:
    variables = {**VARIABLES, f"AFTERCLICK_SPARK__{key}": "hunter2", "AFTERCLICK_SPARK__SPARK_MASTER": "local[7]"}
    settings = load_settings("local", variables=variables)

    for text in (str(settings), repr(settings)):
        assert "hunter2" not in text
        assert key in text
        assert "'spark.master': 'local[7]'" in text
    assert settings.spark[key] == "hunter2"


def test_str_masks_secrets_of_kafka_s_options() -> None:
    options = {"sasl.jaas.config": "hunter2", "ssl.key.password": "hunter2", "client.dns.lookup": "use_all_dns_ips"}
    settings = load_settings("local", variables=VARIABLES)
    kafka = settings.kafka.model_copy(update={"options": options})

    text = str(settings.model_copy(update={"kafka": kafka}))

    assert "hunter2" not in text
    assert "use_all_dns_ips" in text


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("AFTERCLICK_REDIS__COLOUR", "red", "redis.colour"),
        ("AFTERCLICK_SESSIONS__GAP_MINUTES", "-1", "sessions.gap_minutes"),
        ("AFTERCLICK_PAINT__COLOUR", "red", "paint"),
    ],
)
def test_load_settings_names_what_is_wrong(variable: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        load_settings("local", variables={**VARIABLES, variable: value})


@pytest.mark.parametrize("weights", ["{view: 1, wishlist: 2}", "{view: -1}", "{view: .inf}", "{view: .nan}"])
def test_weights_that_nothing_could_use_are_refused_with_what_can_count(weights: str) -> None:
    name = "wishlist" if "wishlist" in weights else "view"

    with pytest.raises(
        SettingsError, match=rf"event_weights.* {name}: only cart, purchase, remove_from_cart, view can"
    ):
        load_settings("local", variables={**VARIABLES, "AFTERCLICK_RECOMMENDATIONS__EVENT_WEIGHTS": weights})


def test_a_weight_of_0_is_allowed_and_every_type_of_a_history_may_have_one() -> None:
    weights = dict.fromkeys(EVENT_TYPE_CODES, 0.0)

    assert RecommendationSettings(event_weights=weights).event_weights == weights
    assert set(EVENT_TYPE_CODES) == ITEM_EVENT_TYPES


def test_days_in_a_variable_leave_those_of_other_tables() -> None:
    days = "{quarantine: 90, triggers: null}"
    variables = {**VARIABLES, "AFTERCLICK_MAINTENANCE__RETENTION_DAYS": days}

    kept = load_settings("local", variables=variables).maintenance.retention_days

    assert (kept["quarantine"], kept["triggers"], kept["rejected_rows"]) == (90, None, 90)


def test_load_settings_says_how_when_nothing_runs(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="afterclick up"):
        load_settings("local", variables={"AFTERCLICK_STATE_DIR": str(tmp_path)})


@pytest.mark.parametrize("value", ["abc:", "0123456789", "no", "null"])
def test_a_variable_that_looks_like_yaml_stays_text(value: str) -> None:
    settings = load_settings("local", variables={**VARIABLES, "AFTERCLICK_REDIS__PREFIX": value})

    assert settings.redis.prefix == value


def test_variables_beat_endpoints_and_those_beat_files(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yaml").write_text("serving: {port: 4444}\ncollector: {port: 5555}\n")
    variables = {**VARIABLES, "AFTERCLICK_STATE_DIR": str(tmp_path), "AFTERCLICK_SERVING__PORT": "7777"}

    settings = load_settings("local", variables=variables)

    assert (settings.serving.port, settings.collector.port) == (7777, 5555)


def test_load_settings_refuses_an_unknown_environment() -> None:
    with pytest.raises(SettingsError, match=r"moon\.yaml does not exist"):
        load_settings("moon", variables=VARIABLES)


def test_load_spark_conf_needs_no_addresses() -> None:
    assert load_spark_conf("cluster", variables={})["spark.sql.session.timeZone"] == "UTC"


def test_null_takes_a_spark_key_of_a_weaker_file_away() -> None:
    key = "spark.sql.catalog.spark_catalog"

    assert key in load_spark_conf("cluster", variables={})
    assert key not in load_spark_conf("databricks", variables={})


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("SPARK.EVENTLOG.ENABLED", "spark.eventLog.enabled"),
        ("SPARK_EVENTLOG_ENABLED", "spark.eventLog.enabled"),
        ("spark.eventlog.enabled", "spark.eventLog.enabled"),
        ("SPARK.SQL.SESSION.TIMEZONE", "spark.sql.session.timeZone"),
        ("SPARK.EXECUTORENV.OPENBLAS_NUM_THREADS", "spark.executorEnv.OPENBLAS_NUM_THREADS"),
        ("SPARK.MASTER", "spark.master"),
        ("spark.kubernetes.memoryOverheadFactor", "spark.kubernetes.memoryOverheadFactor"),
    ],
)
def test_a_spark_key_in_a_variable_gets_spark_s_spelling(name: str, key: str) -> None:
    spark = load_settings("local", variables={**VARIABLES, f"AFTERCLICK_SPARK__{name}": "planted"}).spark

    assert spark[key] == "planted"
    assert sorted(spark) == sorted({*load_settings("local", variables=VARIABLES).spark, key})


@pytest.mark.parametrize("name", ["SPARK.KUBERNETES.MEMORYOVERHEADFACTOR", "EVENTLOG", "SPARK_CUSTOM_KEY"])
def test_a_spark_key_of_unknown_spelling_is_refused_by_name(name: str) -> None:
    with pytest.raises(SettingsError, match=rf"AFTERCLICK_SPARK__{name}.*Write it as Spark's documentation does"):
        load_spark_conf("local", variables={f"AFTERCLICK_SPARK__{name}": "x"})


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "endpoints.yaml").mkdir()

    with pytest.raises(SettingsError, match=r"endpoints\.yaml cannot be read.*backup"):
        load_settings("local", variables={"AFTERCLICK_STATE_DIR": str(tmp_path)})
