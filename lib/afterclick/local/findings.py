"""What the checks of `afterclick doctor` are given and what they return; `diagnosis` runs them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from afterclick.connectors.checkpoints import TopicState
from afterclick.errors import SettingsError
from afterclick.settings import Settings, load_settings, load_spark_conf


@dataclass(frozen=True)
class Finding:
    """One check's outcome."""

    check: str
    is_good: bool
    found: str
    fix: str

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def judged(check: str, problems: Mapping[str, str], found: str) -> Finding:
    """Return a finding that is bad when there are problems: each with how to mend it."""
    if not problems:
        return Finding(check, True, found, "")
    return Finding(check, False, "; ".join(problems), " ".join(dict.fromkeys(problems.values())))


@dataclass(frozen=True)
class Installation:
    """One machine as it is now; tests plant faults in it."""

    state_dir: Path
    cache: Path
    """Folder of the jars."""
    pinned_jars: Mapping[str, str]
    """SHA-256 by ``<group>/<file>`` (`jars.pinned_sums`)."""
    variables: Mapping[str, str]
    """The process environment."""
    python: tuple[int, int]
    search_path: tuple[str, ...]
    """Python's ``sys.path``."""
    packages: Mapping[str, str]
    """Installed version by package; absent when it is not installed."""
    free_gib: float
    """At the state folder."""
    memory_gib: float
    """Of the machine or its container."""
    seconds_ahead: Mapping[str, float]
    """How far the clocks of others are ahead of ours, by their name."""
    topic: TopicState | None
    """None when the broker does not answer."""

    @property
    def conf_dir(self) -> Path:
        """The folder settings are read from, whether they load or not."""
        return Path(self.variables.get("AFTERCLICK_CONF_DIR", "conf"))

    @cached_property
    def settings(self) -> Settings | None:
        """The settings; None when they do not load: a check of its own says why."""
        try:
            return self.load_settings()
        except SettingsError:
            return None

    def load_settings(self) -> Settings:
        """Load the settings as every command does; raises `SettingsError`."""
        return load_settings(variables={**self.variables, "AFTERCLICK_STATE_DIR": str(self.state_dir)})

    @cached_property
    def spark_conf(self) -> dict[str, str]:
        """Spark's part of the settings, which needs no addresses; empty when it cannot be read."""
        try:
            return load_spark_conf(self.variables.get("AFTERCLICK_ENVIRONMENT", "local"), variables=self.variables)
        except SettingsError:
            return {}
