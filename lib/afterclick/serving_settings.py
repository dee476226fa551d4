"""Settings of the recommendation API, its placements and buckets."""

from typing import Self

from pydantic import Field, model_validator

from afterclick.setting_sections import HttpSettings, Section


class PlacementSettings(Section):
    """Rules of one place in a shop where lists are shown; a request may say otherwise."""

    pinned: tuple[str, ...] = ()
    """Item ids that come first, in this order; those that a request pins come before them."""
    blocked: tuple[str, ...] = ()
    """Item ids that are never shown here."""
    category: str | None = None
    """Only items of this category."""
    per_category: int | None = Field(default=None, ge=1)
    """Most items of one category, as long as others are left."""
    explore: float | None = Field(default=None, ge=0, le=1)
    """Share of lists with an explored place; null = the bucket's."""


class BlendSettings(Section):
    """Weights of the sources of recommendation (`blend.SOURCES`), whatever is known of a person."""

    fold_in: float = Field(default=0.0, ge=0)
    """The model's own score of what somebody had."""
    covisitation: float = Field(default=0.0, ge=0)
    """What others went on to after the last items."""
    frequency: float = Field(default=0.0, ge=0)
    """How often and how lately the person had an item."""
    popularity: float = Field(default=0.0, ge=0)
    """How often everybody had it."""
    trend: float = Field(default=0.0, ge=0)
    """How often lately."""

    @model_validator(mode="after")
    def _has_a_source(self) -> Self:
        if not any(self.model_dump().values()):
            told = f"a blend needs a weight above 0 for one of {', '.join(type(self).model_fields)}"
            raise ValueError(told)
        return self


class BucketSettings(Section):
    """One side of a comparison."""

    share: float = Field(gt=0)
    """Its size beside the others': only ratios count."""
    explore: float | None = Field(default=None, ge=0, le=1)
    """Share of lists with an explored place; null = ``serving.explore``."""
    blend: BlendSettings | None = None
    """Weights of the sources that its lists are made of; null = the model's, learned by context."""


class ServingSettings(HttpSettings):
    """The recommendation API."""

    port: int = Field(default=8181, ge=0, le=65535)
    """Port to bind."""
    require_key: bool = False
    """Ask for a key with the scope ``read``; without it whoever reaches the port may ask for lists."""
    popular_refresh_seconds: float = Field(default=5.0, gt=0)
    """How often the popularity fallback and the model pointer are read again."""
    breaker_failures: int = Field(default=3, ge=1)
    """Failures of Redis in a row after which requests no longer ask it."""
    breaker_open_seconds: float = Field(default=1.0, gt=0)
    """Time between two trials whether Redis is back."""
    status_page: bool = False
    """Offer ``/status``: figures without ids for everybody who reaches the API, people for key holders or this machine."""
    status_seconds: float = Field(default=5.0, gt=0)
    """How often the status page reads the metrics of all parts."""
    placements: dict[str, PlacementSettings] = Field(default_factory=dict)
    """Rules by the ``placement`` of a request; one that is not here has none."""
    explore: float = Field(default=0.0, ge=0, le=1)
    """Share of lists with an explored place: an item from just below the list, with known propensity."""
    explore_reserve: int = Field(default=10, ge=1, le=100)
    """Items just below the list that may take the explored place."""
    buckets: dict[str, BucketSettings] = Field(default_factory=dict)
    """Sides of a comparison by name; everybody is always on the same one. Empty = no comparison."""
    bucket_salt: str = "1"
    """Another one deals everybody anew."""
    remembered_histories: int = Field(default=20_000, ge=0)
    """People of the last hour whose past is kept in memory (2 kB each), so that ``exclude_seen`` outlives an outage of Redis."""
    log_shown: bool = False
    """Log every list that is shown, without its person, and give out attribution tokens."""
    shown_topic: str = "shown_lists"
    """Kafka topic of the log; jobs/log_shown_lists.py stores it."""
    shown_waiting: int = Field(default=20_000, ge=1)
    """Lists that wait for Kafka at most (about 1 kB each); of more the oldest are not logged."""
