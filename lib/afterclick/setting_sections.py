"""The sections of the configuration: one frozen model each, a docstring under every field; `settings` reads them."""

from math import inf
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from afterclick.crash_points import CrashPoint
from afterclick.vocabulary import ITEM_EVENT_TYPES


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
    """Upper bound of events in one micro-batch of update_recommendations, which begins as soon as there are any."""
    bulk_max_offsets_per_trigger: int = Field(default=200_000, ge=1)
    """The same of ingest_events and build_sessions, which begin every `streams.bulk_trigger_seconds`: several times what comes
    between two triggers, or they never catch up."""
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    """How clients reach the broker; ``SASL_SSL`` wherever it is not on this machine."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    """How a user proves who they are."""
    username: str = ""
    """This process's own user: the collector's may only write, the streams' only read (docs/operations.md)."""
    password: SecretStr | None = None
    """Their password; without it no SASL."""
    ca_file: Path | None = None
    """PEM file of the authority that signed the broker's certificate; without it the system's."""
    class_prefix: str = ""
    """Before the names of Kafka's Java classes: ``kafkashaded.`` on Databricks, whose runtime brings its own copy."""
    options: dict[str, str] = {}
    """Further Kafka options of the streams and the collector, without the ``kafka.`` prefix; the collector's are librdkafka's."""


class RedisSettings(Section):
    """The cache that holds histories and top-N lists."""

    url: SecretStr
    """``redis://[user:password@]host:port/db``."""
    prefix: str = "ac:"
    """First part of every key."""
    timeout_seconds: float = Field(default=0.25, gt=0)
    """Longest wait of the API for one round trip; streams wait ten times as long."""
    history_ttl_days: int = Field(default=90, ge=1)
    """Days until a history expires, from its last event or from the last time a model was warmed from the tables."""
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
    fast_tasks: int = Field(default=64, ge=1)
    """Tasks of one batch of update_recommendations at most: they only decode and check, and each costs milliseconds."""
    bulk_trigger_seconds: int = Field(default=10, ge=1)
    """Trigger interval of ingest_events and build_sessions."""
    watermark_minutes: int = Field(default=10, ge=0)
    """How late an event may be and still join an open session."""
    duplicate_window_hours: int = Field(default=24, ge=1)
    """Repeated event ids are recognised this long after the first arrival."""
    known_ids: int = Field(default=20_000_000, ge=0)
    """Ids of that window which ingest holds in memory at most, 8 bytes each; with more it reads the tables each batch."""
    stalled_after_seconds: int = Field(default=900, ge=1)
    """A query whose batch makes no progress for so long is ended as failed."""


class QualitySettings(Section):
    """Validation by Great Expectations itself, beside the compiled rules."""

    sample_rows: int | None = Field(default=1_000, ge=0)
    """About how many rows of each ingest batch Great Expectations looks at; null for all, 0 for none."""
    data_docs: Path = Path("data_docs")
    """Folder for the HTML that jobs/validate_tables.py writes."""


class SessionSettings(Section):
    """How a visit is cut."""

    gap_minutes: float = Field(default=30, gt=0)
    """A session closes by a gap greater than this."""
    shards: int = Field(default=2, ge=1)
    """State groups of the session operator; fixed for a checkpoint's life."""
    close_on_order: bool = False
    """An order ends the session: what follows begins another."""
    item_limit: int = Field(default=500, ge=1)
    """Distinct items counted per session; mentions of further ones are counted as such."""


PRIORITY_TYPES = frozenset(
    {"purchase", "cart", "remove_from_cart", "checkout", "refund", "consent", "identify", "group", "alias"}
)
"""Event types that nothing samples: orders, carts, and who a person is and allows."""


class LoadSettings(Section):
    """What gives way when there is too much."""

    low_value_types: tuple[str, ...] = ("view", "page", "screen", "custom")
    """Event types that may be sampled; never one of `PRIORITY_TYPES`."""
    sample_after_seconds: float | None = Field(default=None, gt=0)
    """Sessions leave out low-value events that waited longer than this on Kafka, in proportion; null = never."""
    hot_subject_events: int = Field(default=2_000, ge=1)
    """Low-value events of one person in a batch of sessions; more are sampled, and the person is flagged."""
    lane_rows: int = Field(default=5_000, ge=1)
    """Of a larger batch, lists of people with a priority event are written first."""

    @field_validator("low_value_types")
    @classmethod
    def _refuse_priority(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := sorted(PRIORITY_TYPES.intersection(types)):
            message = f"{', '.join(wrong)} must never be sampled; leave them out"
            raise ValueError(message)
        return types


class TriggerSettings(Section):
    """What a person's behaviour sets off."""

    rules: str | None = None
    """File of the rules, on a cluster a URL that every executor reads; null = no triggers."""
    topic: str = "triggers"
    """Kafka topic with one JSON message per trigger."""
    delay_seconds: float = Field(default=5, ge=0)
    """How long after its time a trigger is decided: events that arrive in between still count."""
    expire_minutes: float = Field(default=60, gt=0)
    """A trigger decided later than this after its time is recorded without message and recompute."""


class RecommendationSettings(Section):
    """What a list holds."""

    list_size: int = Field(default=50, ge=1, le=500)
    """Items kept per subject."""
    history_length: int = Field(default=200, ge=1)
    """Most recent interactions kept per subject."""
    exclude_seen: bool = False
    """Leave out what the subject already interacted with."""
    event_weights: dict[str, float] = {"view": 1.0, "cart": 3.0, "purchase": 5.0}
    """Interaction strength by event type: view, cart, purchase, remove_from_cart; one not listed, or with 0, does not count."""
    warm_parts: int = Field(default=16, ge=1)
    """Parts in which a new model's cache is warmed; a killed warming loses at most the parts that were running."""
    driver_rows: int = Field(default=20_000, ge=0)
    """Batches up to this many interactions are folded in on the driver, larger ones on executors."""

    @field_validator("event_weights")
    @classmethod
    def _refuse_weights(cls, weights: dict[str, float]) -> dict[str, float]:
        if wrong := [name for name, one in weights.items() if name not in ITEM_EVENT_TYPES or not 0 <= one < inf]:
            told = f"only {', '.join(sorted(ITEM_EVENT_TYPES))} can count, with a finite weight of 0 or more"
            raise ValueError(f"{', '.join(sorted(wrong))}: {told}; correct or leave out")
        return weights


class MaintenanceSettings(Section):
    """How tables are kept small."""

    vacuum_hours: float = Field(default=168, ge=168)
    """Files that no version within these hours needs are removed."""
    retention_days: dict[str, int | None] = {
        "events": None, "late_events": None, "quarantine": None, "sessions": None,
        "triggers": 180, "unsessioned_events": 90, "enriched_items": 180, "rejected_rows": 90, "shown_lists": 90,
    }  # fmt: skip
    """Days that rows are kept, by table; null = for ever. Tables that are not named keep their default."""

    @field_validator("retention_days")
    @classmethod
    def _complete_days(cls, days: dict[str, int | None]) -> dict[str, int | None]:
        known, allowed = cls.model_fields["retention_days"].default, range(1, 36_501)
        if wrong := [name for name, one in days.items() if name not in known or not (one is None or one in allowed)]:
            told = f"only rows of {', '.join(known)} go by age, after 1 to 36500 days, or never (null)"
            raise ValueError(f"{', '.join(sorted(wrong))}: {told}; correct or leave out")
        return known | days


class ModelSettings(Section):
    """Training and the registry."""

    tracking_uri: SecretStr
    """MLflow tracking and registry store."""
    artifact_root: str
    """Where MLflow puts artifacts of a new experiment."""
    name: str = "afterclick-als"
    """Registered model name."""
    backend: Literal["implicit", "mllib"] = "implicit"
    """Who trains: the library implicit in the driver, or Spark's own ALS on the executors (docs/decisions/0044-mllib.md)."""
    rank: int = Field(default=64, ge=1)
    """Number of factors."""
    regularization: float = Field(default=10.0, gt=0)
    """Plain lambda on the diagonal (implicit's convention)."""
    alpha: float = Field(default=1.0, gt=0)
    """Confidence is ``alpha * weight`` (implicit's convention)."""
    weight_power: float = Field(default=1.0, gt=0, le=1)
    """Exponent of a person's summed weight of an item: below 1 the tenth purchase says less than the first."""
    iterations: int = Field(default=15, ge=1)
    """Alternating sweeps."""
    seed: int = 42
    """Random state of the factors' start."""
    blend_cases: int = Field(default=4_000, ge=100)
    """Held-out events that the blend of the sources is learned on, at most; spread evenly."""


class PromotionSettings(Section):
    """When a candidate may become champion, and how long one can go back."""

    holdout_percent: int = Field(default=5, ge=0, le=50)
    """People (by hash, always the same) kept out of training; their last visits judge every model."""
    max_holdout_people: int = Field(default=2_000, ge=1)
    """Bound of the evaluation's cost."""
    list_length: int = Field(default=20, ge=1)
    """N of HR@N and MRR@N."""
    min_people: int = Field(default=100, ge=1)
    """Fewest people to train on."""
    min_interactions: int = Field(default=1_000, ge=1)
    """Fewest person-item pairs to train on."""
    min_holdout_people: int = Field(default=20, ge=0)
    """Fewest people to judge by."""
    tolerance: float = Field(default=0.05, ge=0)
    """Share of the champion's hit rate by which a candidate may be worse, beside twice the standard error."""
    max_norm_ratio: float = Field(default=1_000.0, gt=1)
    """Largest item factor's norm over the median norm."""
    min_coverage: float = Field(default=0.8, ge=0, le=1)
    """Share of the champion's popularity whose items the candidate knows."""
    max_bytes: int = Field(default=2_000_000_000, ge=1)
    """Largest size of a model's files."""
    max_load_seconds: float = Field(default=30.0, gt=0)
    """Longest time to load and check a model."""
    rollback_hours: int = Field(default=48, ge=1)
    """How long after a switch the version before is kept ready."""


class RelevanceSettings(Section):
    """When the served model counts as worse than the one before, and traffic as changed."""

    window_hours: int = Field(default=24 * 7, ge=1)
    """Visits since the last switch, but no older than this, are measured."""
    max_visits: int = Field(default=20_000, ge=1)
    """Most recent visits measured at once."""
    min_visits: int = Field(default=200, ge=1)
    """No rollback on fewer visits."""
    min_drop: float = Field(default=0.2, ge=0, le=1)
    """Share of the control's hit rate that must be lost."""
    false_alarms: float = Field(default=0.001, gt=0, lt=1)
    """Probability that two equal models are ever told apart, however often one looks."""
    cooldown_hours: int = Field(default=24, ge=0)
    """No second automatic rollback within this time."""
    max_psi: float = Field(default=0.25, gt=0)
    """Population stability index of event types or item popularity above which a model is trained early."""


class ParitySettings(Section):
    """Whose lists the nightly report of parity compares."""

    max_people: int = Field(default=2_000, ge=1)
    """Bound of the report's cost; people who judge models come first, then others by hash."""


class HttpSettings(Section):
    """Where a service listens."""

    host: str = "127.0.0.1"
    """Address to bind; loopback unless set otherwise."""
    port: int = Field(ge=0, le=65535)
    """Port to bind."""
    tls_certificate: Path | None = None
    """PEM file with the certificate chain; with it the service speaks TLS only."""
    tls_key: Path | None = None
    """PEM file with the certificate's private key."""
    max_header_bytes: int = Field(default=32_768, ge=1024)
    """Largest request line and headers together; more is answered 431."""
    header_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest time from the first byte of a request to the end of its headers."""
    max_connections: int = Field(default=2_000, ge=1)
    """Open connections; further ones are answered 503."""
    keep_alive_seconds: int = Field(default=5, ge=1)
    """A connection is closed after so long without a request; behind a load balancer more than its own idle time."""

    @property
    def base_url(self) -> str:
        """Address for clients on this machine."""
        return f"{'https' if self.tls_certificate else 'http'}://{self.host}:{self.port}"


class CollectorSettings(HttpSettings):
    """The HTTP ingest service."""

    port: int = Field(default=8180, ge=0, le=65535)
    """Port to bind."""
    write_keys: tuple[SecretStr, ...] = ()
    """Accepted Segment write keys."""
    max_event_bytes: int = Field(default=32_768, ge=1)
    """Largest single message (Segment's documented limit)."""
    max_batch_bytes: int = Field(default=512_000, ge=1)
    """Largest request body, inflated (Segment's documented limit); more is answered 400."""
    max_batch_events: int = Field(default=5_000, ge=1)
    """Most messages in one request."""
    max_body_bytes: int = Field(default=4_194_304, ge=1)
    """A body larger than this, inflated or not, is not read: 413."""
    max_depth: int = Field(default=64, ge=1)
    """Deepest nesting of one message."""
    body_timeout_seconds: float = Field(default=20.0, gt=0)
    """Longest time for a body to arrive: 408."""
    events_per_second: float = Field(default=10_000, gt=0)
    """Rate at which one key may send to one collector, unless the key has its own: 429."""
    allowed_origins: tuple[str, ...] = ("*",)
    """Origins whose pages may send, as ``https://shop.example``; ``*`` allows all."""
    public_url: str | None = None
    """How browsers reach us, when it is not the address of the request (behind a proxy)."""
    browser_bundle: Path | None = None
    """Folder ``dist/umd`` of the npm package ``@segment/analytics-next``, served to pages with the Segment snippet."""
    inspect: bool = False
    """Offer ``/_inspect`` with what arrived lately; only in the environment ``local``."""
    delivery_timeout_seconds: float = Field(default=10.0, gt=0)
    """Longest wait for Kafka's delivery report before answering 503."""
    max_in_flight: int = Field(default=5_000, ge=1)
    """Messages waiting for a delivery report before answering 429."""
    consent_categories: dict[str, tuple[str, ...]] = {
        "analytics": ("analytics", "Analytics"),
        "personalisation": ("personalisation", "personalization", "Personalization"),
    }
    """Names in ``context.consent.categoryPreferences`` that grant each purpose."""


class KeySettings(Section):
    """Access keys beside the configured ones (`afterclick keys`)."""

    url: SecretStr | None = None
    """SQLAlchemy address of the key store; without it only ``collector.write_keys`` count."""
    refresh_seconds: float = Field(default=2.0, gt=0, le=5)
    """How often services read the keys again: a revoked key works no longer than this."""


class PrivacySettings(Section):
    """Pseudonyms, consent and erasure."""

    pseudonym_key: SecretStr
    """HMAC key of at least 32 bytes under which raw ids are looked up; rotate by moving it to the previous ones."""
    previous_pseudonym_keys: tuple[SecretStr, ...] = ()
    """Keys being rotated out: an id found under one is moved to the active key; keep them for an erasure's replays."""
    subject_store: SecretStr
    """SQLAlchemy URL of the database with identifiers, secrets and consent."""
    remembered_people: int = Field(default=100_000, ge=1)
    """Most people a service keeps in memory (about 1 kB each)."""
    vacuum_hours: float = Field(default=168, ge=0)
    """Hours that removed rows stay in files for readers of older snapshots."""


class LogSettings(Section):
    """How every process logs, to standard error."""

    format: Literal["text", "json"] = "text"
    """``json``: one object a line, with the ``key=value`` pairs of the message as fields."""


class MetricsSettings(Section):
    """How jobs tell Prometheus (the services have ``/metrics`` on their own port)."""

    host: str = "127.0.0.1"
    """Address of a job's ``/metrics``."""
    port: int | None = Field(default=None, ge=0, le=65535)
    """Its port, the same for every job (one a machine); 0 takes a free one; none: not served."""
    discovery_dir: Path | None = None
    """Addresses of running jobs, collector and API, as Prometheus' ``file_sd_configs`` and the status page read them."""
    textfile_dir: Path | None = None
    """Folder of the node exporter's textfile collector: how each batch job ended."""


class FaultSettings(Section):
    """Faults made on purpose: for tests only."""

    crash_point: CrashPoint | None = None
    """Where this process is to kill itself (`crash_points.CrashPoint`); unset in every release."""
