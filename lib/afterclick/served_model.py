"""The model a process computes with: loaded once per version, checked, from the local copy or the registry."""

import re
from functools import lru_cache
from pathlib import Path

from afterclick.errors import IncompatibleModelError
from afterclick.models import load_model
from afterclick.recommender import Recommender
from afterclick.setting_sections import RecommendationSettings
from afterclick.settings import Settings

VERSION_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""What a model version is called: it becomes a folder and part of Redis keys."""


def read_recommender(settings: Settings, version: str) -> Recommender:
    """Return the recommender of a model version; the last two are kept in this process.

    Raises
    ------
    ModelNotFoundError
        If neither the local copy nor the registry has the version.
    IncompatibleModelError
        If the files are not what was saved.
    """
    folder = model_folder(settings, version)
    if not (folder / "manifest.json").exists():
        from afterclick.connectors.model_registry import download_model  # noqa: PLC0415 - MLflow takes seconds to import

        download_model(settings, version)
    return _load(str(folder), settings.recommendations.model_dump_json())


def model_folder(settings: Settings, version: str) -> Path:
    """Return the local copy's place.

    Raises
    ------
    IncompatibleModelError
        If the version's name could lead out of ``storage.models``.
    """
    if not VERSION_NAME.fullmatch(version):
        raise IncompatibleModelError(f"model version {version!r} is no name we give: letters, digits, . _ - only")
    return Path(settings.storage.models) / version


@lru_cache(maxsize=2)
def _load(folder: str, rules: str) -> Recommender:
    return Recommender(load_model(Path(folder)), RecommendationSettings.model_validate_json(rules))
