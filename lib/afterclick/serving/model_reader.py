"""The served model in the API's memory, where its files are on this machine: sessions, similar items, fallback."""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path

from afterclick.comparison import Comparison
from afterclick.models import load_model, newest_model
from afterclick.recommender import Recommender
from afterclick.serving.catalogue import NO_CATALOGUE, Catalogue, build_catalogue
from afterclick.settings import Settings

logger = logging.getLogger(__name__)


class ModelReader:
    """Remembers the recommender of the version that lists are served of."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._recommender: Recommender | None = None
        self.comparison = Comparison.of(settings.serving)
        self._catalogue = NO_CATALOGUE

    @property
    def recommender(self) -> Recommender | None:
        """Return the recommender; None where the model's files are not on this machine."""
        return self._recommender

    def recommender_of(self, version: str, side: str | None) -> Recommender | None:
        """Return what made the lists of a version and a side of the comparison; None if that is not in memory."""
        if self._recommender is None or self._recommender.model.version != version:
            return None
        return self.comparison.recommender(self._recommender, side)

    @property
    def catalogue(self) -> Catalogue:
        """Return the ids of the whole catalogue, most popular first (none without a model), and their categories."""
        return self._catalogue

    def catalogue_of(self, version: str) -> Catalogue:
        """Return the same; without ids if they are not of this version: an answer must not mix two."""
        is_it = self._recommender is not None and self._recommender.model.version == version
        return self._catalogue if is_it else Catalogue(category_of=self._catalogue.category_of)

    def set_categories(self, category_of: Mapping[str, str]) -> None:
        """Know the items' categories from now on."""
        self._catalogue = build_catalogue(self._catalogue.by_popularity, category_of)

    async def follow(self, version: str | None) -> None:
        """Load the version, or the newest there is when none is told, unless it is in memory already."""
        if self._recommender is None or (version and version != self._recommender.model.version):
            await asyncio.to_thread(self._load, version)

    def _load(self, version: str | None) -> None:
        root = Path(self._settings.storage.models)
        try:
            folder = root / version if version else newest_model(root)
            if folder is None or not (folder / "manifest.json").exists():
                return
            recommender = Recommender(load_model(folder), self._settings.recommendations)
        except Exception as error:  # whatever is wrong with files, the model in memory stays
            logger.warning("model not loaded: %r", error)
            return
        ids = recommender.item_ids
        by_popularity = tuple(ids[row] for row in (-recommender.model.popularity).argsort(kind="stable").tolist())
        self._catalogue = build_catalogue(by_popularity, self._catalogue.category_of)
        self._recommender = recommender
