"""All configuration: one frozen tree, built by `load_settings`.

``conf/base.yaml`` < ``conf/<environment>.yaml`` < (environment ``local`` only)
``<state_dir>/endpoints.yaml`` written by ``afterclick up`` < variables
``AFTERCLICK_<SECTION>__<KEY>``. No other module reads the process environment.
"""

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError

from afterclick.errors import SettingsError
from afterclick.serving_settings import ServingSettings
from afterclick.setting_sections import (
    CollectorSettings,
    FaultSettings,
    KafkaSettings,
    KeySettings,
    LoadSettings,
    LogSettings,
    MaintenanceSettings,
    MetricsSettings,
    ModelSettings,
    ParitySettings,
    PrivacySettings,
    PromotionSettings,
    QualitySettings,
    RecommendationSettings,
    RedisSettings,
    RelevanceSettings,
    Section,
    SessionSettings,
    StorageSettings,
    StreamSettings,
    TriggerSettings,
)
from afterclick.spark_keys import spark_key

PREFIX = "AFTERCLICK_"
_SECRET = re.compile("secret|password|token|key|credential|jaas", re.IGNORECASE)


class Settings(Section):
    """The whole configuration; `str` masks every secret."""

    environment: str
    """Name of the ``conf/<environment>.yaml`` that was read."""
    state_dir: Path = Path(".afterclick")
    """Local state: endpoints, pid files, logs, broker data."""
    conf_dir: Path = Path("conf")
    """Folder with the YAML files, expectation suites and trigger rules."""
    kafka: KafkaSettings
    """The broker."""
    redis: RedisSettings
    """The cache."""
    storage: StorageSettings
    """Tables and checkpoints."""
    streams: StreamSettings = StreamSettings()
    """Pace and time rules."""
    quality: QualitySettings = QualitySettings()
    """Validation by Great Expectations."""
    sessions: SessionSettings = SessionSettings()
    """Session rules."""
    load: LoadSettings = LoadSettings()
    """What gives way when there is too much."""
    triggers: TriggerSettings = TriggerSettings()
    """Trigger rules and their effects."""
    recommendations: RecommendationSettings = RecommendationSettings()
    """List rules."""
    maintenance: MaintenanceSettings = MaintenanceSettings()
    """Upkeep of tables."""
    model: ModelSettings
    """Training and registry."""
    promotion: PromotionSettings = PromotionSettings()
    """Gates and rolling back."""
    relevance: RelevanceSettings = RelevanceSettings()
    """Rules on live traffic."""
    parity: ParitySettings = ParitySettings()
    """Bound of the nightly report."""
    collector: CollectorSettings = CollectorSettings()
    """The ingest service."""
    keys: KeySettings = KeySettings()
    """Access keys."""
    serving: ServingSettings = ServingSettings()
    """The API."""
    privacy: PrivacySettings
    """Pseudonyms."""
    logs: LogSettings = LogSettings()
    """Log lines."""
    metrics: MetricsSettings = MetricsSettings()
    """Metrics of jobs."""
    faults: FaultSettings = FaultSettings()
    """Crash points; empty outside fault tests."""
    spark: dict[str, str] = Field(default_factory=dict)
    """Spark configuration passed on as it is; reasons stand beside the values in the YAML."""

    def __repr_args__(self) -> Iterable[tuple[str | None, Any]]:
        """Mask what looks like a secret among Spark's and Kafka's keys, as pydantic masks its own."""
        kafka = self.kafka.model_copy(update={"options": _masked(self.kafka.options)})
        shown = {"spark": _masked(self.spark), "kafka": kafka}
        for name, value in super().__repr_args__():
            yield name, shown.get(str(name), value)

    def suite_path(self, name: str) -> Path:
        """Return the file with a Great Expectations suite: ``events`` for messages, ``tables/<name>`` for a table."""
        return self.conf_dir / "expectations" / f"{name}.json"


def _masked(named: Mapping[str, Any]) -> dict[str, Any]:
    return {key: "**********" if _SECRET.search(key) else value for key, value in named.items()}


def load_settings(environment: str | None = None, *, variables: Mapping[str, str] | None = None) -> Settings:
    """Build the settings tree for an environment.

    Parameters
    ----------
    environment
        Name of a file in the configuration folder; default ``AFTERCLICK_ENVIRONMENT`` or ``local``.
    variables
        Stands in for the process environment.

    Raises
    ------
    SettingsError
        If a file is missing or not YAML, a key is unknown, or a value has the wrong type. All
        problems are listed at once; secret values are never printed.
    """
    variables = os.environ if variables is None else variables  # noqa: TID251 - here and nowhere else
    environment = environment or variables.get("AFTERCLICK_ENVIRONMENT", "local")
    conf_dir = Path(variables.get("AFTERCLICK_CONF_DIR", "conf"))
    tree = _read_tree(environment, conf_dir, variables)
    try:
        return Settings.model_validate(tree)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        message = (
            f"settings for environment {environment!r} in {conf_dir} are not valid: {problems}. "
            f"Correct the YAML file or the variable {PREFIX}<SECTION>__<KEY>; for the local stack run "
            "`afterclick up` first."
        )
        raise SettingsError(message) from None


def load_ranking_settings(
    environment: str | None = None, *, variables: Mapping[str, str] | None = None
) -> tuple[ModelSettings, RecommendationSettings]:
    """Return only what says how to train and rank: a recorded log can be evaluated where nothing else is set up.

    Raises
    ------
    SettingsError
        If a key of the two sections is unknown or has the wrong type.
    """
    variables = os.environ if variables is None else variables  # noqa: TID251 - see load_settings
    environment = environment or variables.get("AFTERCLICK_ENVIRONMENT", "local")
    tree = _read_tree(environment, Path(variables.get("AFTERCLICK_CONF_DIR", "conf")), variables)
    unused = {"tracking_uri": "", "artifact_root": ""}
    try:
        return (
            ModelSettings.model_validate(unused | tree.get("model", {})),
            RecommendationSettings.model_validate(tree.get("recommendations", {})),
        )
    except ValidationError as error:
        message = f"sections model and recommendations of environment {environment!r} are not valid: {error}"
        raise SettingsError(message) from None


def load_spark_conf(environment: str, *, variables: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return only the Spark configuration: `spark-submit.sh` needs it where nothing else is known yet."""
    variables = os.environ if variables is None else variables  # noqa: TID251 - see load_settings
    conf_dir = Path(variables.get("AFTERCLICK_CONF_DIR", "conf"))
    tree = _read_tree(environment, conf_dir, variables)
    return {key: str(value) for key, value in tree.get("spark", {}).items()}


def _read_tree(environment: str, conf_dir: Path, variables: Mapping[str, str]) -> dict[str, Any]:
    """Read and merge all sources, the weakest first."""
    tree: dict[str, Any] = {"environment": environment, "conf_dir": str(conf_dir)}
    for name in ("base", environment):
        _merge(tree, _read_yaml(conf_dir / f"{name}.yaml"))
    if environment == "local":
        state_dir = Path(variables.get("AFTERCLICK_STATE_DIR") or tree.get("state_dir", ".afterclick"))
        endpoints = state_dir / "endpoints.yaml"
        _merge(tree, _read_yaml(endpoints) if endpoints.exists() else {})
        tree["state_dir"] = str(state_dir)
    places = {
        "{state_dir}": str(Path(tree.get("state_dir", ".afterclick")).resolve()),
        "{conf_dir}": str(conf_dir.resolve()),
    }
    tree = _with_places(tree, places)
    _merge(tree, _from_variables(variables, tree.get("spark") or {}))
    if "spark" in tree:  # null in a stronger source takes a key of a weaker one away
        tree["spark"] = {key: value for key, value in (tree["spark"] or {}).items() if value is not None}
    return tree


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        message = (
            f"{path} does not exist. Run from the project folder, set AFTERCLICK_CONF_DIR to its conf folder, or make a "
            "project with `afterclick init FOLDER`."
        )
        raise SettingsError(message) from error
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path} cannot be read: {error}. Give this user the right to read it, or restore it from a backup."
        raise SettingsError(message) from error
    except yaml.YAMLError as error:
        message = f"{path} is not valid YAML: {error}"
        raise SettingsError(message) from error
    if not isinstance(content, dict):
        message = f"{path} holds a {type(content).__name__}, expected sections with keys"
        raise SettingsError(message)
    return content


def _merge(tree: dict[str, Any], extra: Mapping[str, Any]) -> None:
    for key, value in extra.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = value


def _with_places(value: Any, places: Mapping[str, str]) -> Any:
    """Replace ``{state_dir}`` and ``{conf_dir}`` in every string by absolute paths."""
    if isinstance(value, dict):
        return {key: _with_places(inner, places) for key, inner in value.items()}
    if isinstance(value, str):
        for place, path in places.items():
            value = value.replace(place, path)
    return value


def _from_variables(variables: Mapping[str, str], spark: Mapping[str, Any]) -> dict[str, Any]:
    """Read ``AFTERCLICK_<SECTION>__<KEY>``; a value that begins with [ or { is YAML, any other is text."""
    tree: dict[str, Any] = {}
    for name, value in variables.items():
        if name.startswith(PREFIX) and "__" in name:
            section, key = name.removeprefix(PREFIX).split("__", 1)
            section = section.lower()
            key = spark_key(key, spark) if section == "spark" else key.lower()
            tree.setdefault(section, {})[key] = yaml.safe_load(value) if value[:1] in {"[", "{"} else value
    return tree
