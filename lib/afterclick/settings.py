"""All configuration: one frozen tree, built by `load_settings`.

``conf/base.yaml`` < ``conf/<environment>.yaml`` < (environment ``local`` only)
``<state_dir>/endpoints.yaml`` written by ``afterclick up`` < variables
``AFTERCLICK_<SECTION>__<KEY>``. No other module reads the process environment.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from afterclick.errors import SettingsError

PREFIX = "AFTERCLICK_"


class Section(BaseModel):
    """A part of the configuration: frozen, and unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class KafkaSettings(Section):
    """The broker between the collector and the streams."""

    bootstrap_servers: str
    """Comma-separated host:port."""
    events_topic: str = "events"
    """Topic with one message per event, keyed by subject."""
    events_partitions: int = Field(default=4, ge=1)
    """Partitions of the events topic when we create it."""
    max_offsets_per_trigger: int = Field(default=50_000, ge=1)
    """Upper bound of events in one micro-batch."""
    options: dict[str, str] = {}
    """Further Spark Kafka source options (security and the like), without the ``kafka.`` prefix."""


class RedisSettings(Section):
    """The cache that holds histories and top-N lists."""

    url: SecretStr
    """``redis://[user:password@]host:port/db``."""
    prefix: str = "ac:"
    """First part of every key."""
    timeout_seconds: float = Field(default=0.25, gt=0)
    """Longest wait of the API for one round trip; streams wait ten times as long."""
    history_ttl_days: int = Field(default=90, ge=1)
    """Days after a subject's last event until the history expires."""
    list_ttl_days: int = Field(default=14, ge=1)
    """Days after its computation until a list expires."""


class StorageSettings(Section):
    """Where tables and checkpoints live: a local folder or an object-store URL."""

    tables: str
    """Root of all Delta tables; one folder per table name."""
    checkpoints: str
    """Root of all stream checkpoints; one folder per query."""
    models: str
    """Folder in which loaded model versions are cached."""


class StreamSettings(Section):
    """Pace and time rules of the three streams."""

    fast_trigger_ms: int = Field(default=0, ge=0)
    """Trigger interval of update_recommendations; 0 starts a batch as soon as there is data."""
    bulk_trigger_seconds: int = Field(default=10, ge=1)
    """Trigger interval of ingest_events and build_sessions."""
    watermark_minutes: int = Field(default=10, ge=0)
    """How late an event may be and still join an open session."""
    future_tolerance_seconds: int = Field(default=300, ge=0)
    """Events further ahead of their arrival than this are quarantined."""
    duplicate_window_hours: int = Field(default=24, ge=1)
    """Repeated event ids are recognised this long after the first arrival."""


class SessionSettings(Section):
    """How a visit is cut."""

    gap_minutes: float = Field(default=30, gt=0)
    """A session closes by a gap greater than this."""
    shards: int = Field(default=2, ge=1)
    """State groups of the session operator; fixed for a checkpoint's life."""


class RecommendationSettings(Section):
    """What a list holds."""

    list_size: int = Field(default=50, ge=1, le=500)
    """Items kept per subject."""
    history_length: int = Field(default=200, ge=1)
    """Most recent interactions kept per subject."""
    exclude_seen: bool = False
    """Leave out what the subject already interacted with."""
    event_weights: dict[str, float] = {"view": 1.0, "cart": 3.0, "purchase": 5.0}
    """Interaction strength by event type; a type not listed does not count."""
    driver_rows: int = Field(default=20_000, ge=0)
    """Batches up to this many interactions are folded in on the driver, larger ones on executors."""


class ModelSettings(Section):
    """Training and the registry."""

    tracking_uri: SecretStr
    """MLflow tracking and registry store."""
    artifact_root: str
    """Where MLflow puts artifacts of a new experiment."""
    name: str = "afterclick-als"
    """Registered model name."""
    rank: int = Field(default=64, ge=1)
    """Number of factors."""
    regularization: float = Field(default=10.0, gt=0)
    """Plain lambda on the diagonal (implicit's convention)."""
    alpha: float = Field(default=1.0, gt=0)
    """Confidence is ``alpha * weight`` (implicit's convention)."""
    iterations: int = Field(default=15, ge=1)
    """Alternating sweeps."""
    seed: int = 42
    """Random state of the factors' start."""


class HttpSettings(Section):
    """Where a service listens."""

    host: str = "127.0.0.1"
    """Address to bind; loopback unless set otherwise."""
    port: int = Field(ge=0, le=65535)
    """Port to bind."""

    @property
    def base_url(self) -> str:
        """Address for clients on this machine."""
        return f"http://{self.host}:{self.port}"


class CollectorSettings(HttpSettings):
    """The HTTP ingest service."""

    port: int = Field(default=8180, ge=0, le=65535)
    """Port to bind."""
    write_keys: tuple[SecretStr, ...] = ()
    """Accepted Segment write keys."""
    max_event_bytes: int = Field(default=32_768, ge=1)
    """Largest single message (Segment's documented limit)."""
    max_batch_bytes: int = Field(default=512_000, ge=1)
    """Largest request body (Segment's documented limit)."""
    delivery_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest wait for Kafka's delivery report before answering 503."""
    max_in_flight: int = Field(default=5_000, ge=1)
    """Messages waiting for a delivery report before answering 429."""
    consent_categories: dict[str, tuple[str, ...]] = {
        "analytics": ("analytics", "Analytics"),
        "personalisation": ("personalisation", "personalization", "Personalization"),
    }
    """Names in ``context.consent.categoryPreferences`` that grant each purpose."""


class ServingSettings(HttpSettings):
    """The recommendation API."""

    port: int = Field(default=8181, ge=0, le=65535)
    """Port to bind."""
    popular_refresh_seconds: float = Field(default=5.0, gt=0)
    """How often the popularity fallback and the model pointer are read again."""


class PrivacySettings(Section):
    """Pseudonyms."""

    pseudonym_key: SecretStr
    """HMAC key of at least 32 bytes; changing it makes every subject a new one."""


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
    sessions: SessionSettings = SessionSettings()
    """Session rules."""
    recommendations: RecommendationSettings = RecommendationSettings()
    """List rules."""
    model: ModelSettings
    """Training and registry."""
    collector: CollectorSettings = CollectorSettings()
    """The ingest service."""
    serving: ServingSettings = ServingSettings()
    """The API."""
    privacy: PrivacySettings
    """Pseudonyms."""
    spark: dict[str, str] = {}
    """Spark configuration passed on as it is; reasons stand beside the values in the YAML."""

    def suite_path(self, table: str) -> Path:
        """Return the file with a table's Great Expectations suite."""
        return self.conf_dir / "expectations" / f"{table}.json"


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
    _merge(tree, _from_variables(variables))
    return tree


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except FileNotFoundError as error:
        message = f"{path} does not exist. Run from the project folder, or set AFTERCLICK_CONF_DIR to its conf folder."
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


def _from_variables(variables: Mapping[str, str]) -> dict[str, Any]:
    """Read ``AFTERCLICK_<SECTION>__<KEY>``; a value that begins with [ or { is YAML, any other is text."""
    tree: dict[str, Any] = {}
    for name, value in variables.items():
        if name.startswith(PREFIX) and "__" in name:
            section, key = name.removeprefix(PREFIX).lower().split("__", 1)
            tree.setdefault(section, {})[key] = yaml.safe_load(value) if value[:1] in {"[", "{"} else value
    return tree
