"""A model as plain arrays with a SHA-256 manifest; nothing is ever unpickled.

numpy and the standard library only, so that the API can read a model too. MLflow knows where a
version came from (`connectors.model_registry`); this module knows what it is.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from afterclick.crash_points import CrashPoint, crash_half_written
from afterclick.errors import IncompatibleModelError
from afterclick.model_sources import ARRAYS as SOURCE_ARRAYS
from afterclick.model_sources import OPTIONAL, ModelSources, make_sources

LAYOUT = 2
"""Version of the files' layout; a loader refuses any other."""
_ARRAYS = ("item_ids", "item_factors", "popularity")


@dataclass(frozen=True)
class Model:
    """One trained version.

    Parameters
    ----------
    item_ids : shape (n_items,)
        Unicode strings, each once.
    item_factors : shape (n_items, rank)
        float32.
    popularity : shape (n_items,)
        Sum of interaction weights in the training data.
    regularization, alpha
        implicit's convention: confidence ``alpha * weight``, plain lambda on the diagonal.
    event_weights
        Interaction weight by event type, as trained.
    weight_power
        Exponent of a person's summed weight of an item.
    sources
        Counts and weights of the blend; None = lists come from fold-in alone.
    """

    version: str
    item_ids: npt.NDArray[np.str_]
    item_factors: npt.NDArray[np.float32]
    popularity: npt.NDArray[np.float64]
    regularization: float
    alpha: float
    event_weights: Mapping[str, float]
    trained_at: str
    weight_power: float = 1.0
    sources: ModelSources | None = None
    item_keys: npt.NDArray[np.uint64] = field(init=False)
    _key_order: npt.NDArray[np.int64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Derive the integer keys of the items and their order."""
        keys = item_keys(self.item_ids.tolist())
        object.__setattr__(self, "item_keys", keys)
        object.__setattr__(self, "_key_order", np.argsort(keys, kind="stable"))

    def index_of(self, keys: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
        """Row of each item key, shape (n,); -1 for items the model does not know."""
        ordered = self.item_keys[self._key_order]
        place = np.minimum(np.searchsorted(ordered, keys), len(ordered) - 1)
        return np.where(ordered[place] == keys, self._key_order[place], -1)


def item_keys(item_ids: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Return 64-bit keys of item ids: BLAKE2b, little-endian.

    Notes
    -----
    Two of 400,000 items collide with a probability of about 4e-9.
    """
    digests = b"".join(hashlib.blake2b(item_id.encode(), digest_size=8).digest() for item_id in item_ids)
    return np.frombuffer(digests, "<u8").astype(np.uint64)


def save_model(model: Model, folder: Path, crash_point: CrashPoint | None = None) -> None:
    """Write the arrays and, last of all and at once, the manifest that names their sums."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays = {name: getattr(model, name) for name in _ARRAYS}
    if model.sources:
        arrays |= {name: getattr(model.sources, name) for name in SOURCE_ARRAYS}
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)
        if name == "item_factors":
            crash_half_written(CrashPoint.HALF_FACTORS, folder / "item_factors.npy", crash_point)
    files = {f"{name}.npy": {"sha256": _sha256(folder / f"{name}.npy")} for name in arrays}
    manifest = {
        "layout": LAYOUT,
        "version": model.version,
        "regularization": model.regularization,
        "alpha": model.alpha,
        "event_weights": dict(model.event_weights),
        "trained_at": model.trained_at,
        "weight_power": model.weight_power,
        "sources": model.sources.to_dict() if model.sources else None,
        "files": files,
    }
    written = folder / "manifest.json.new"
    written.write_text(json.dumps(manifest, indent=1), encoding="utf-8")
    written.replace(folder / "manifest.json")


def load_model(folder: Path) -> Model:
    """Read a model and refuse anything that is not exactly what was saved.

    Raises
    ------
    IncompatibleModelError
        If the manifest is missing or of another layout, a file is missing, added, a link or changed, or an
        array has the wrong shape, type or a value that is not finite.
    """
    manifest = _read_manifest(folder)
    names = {entry.name for entry in folder.iterdir()}
    sources = [name for name in SOURCE_ARRAYS if name not in OPTIONAL or f"{name}.npy" in manifest["files"]]
    stored = (*_ARRAYS, *sources) if manifest["sources"] else _ARRAYS
    expected = {f"{name}.npy" for name in stored}
    if set(manifest["files"]) != expected or names != {*expected, "manifest.json"}:
        raise IncompatibleModelError(
            f"model {folder} holds {sorted(names)}, expected {sorted(expected)} and manifest.json"
        )
    arrays: dict[str, Any] = {
        name: _read_array(folder / f"{name}.npy", manifest["files"][f"{name}.npy"]["sha256"]) for name in stored
    }
    _check_arrays(folder, arrays)
    parameters: dict[str, Any] = {
        key: manifest[key]
        for key in ("version", "regularization", "alpha", "event_weights", "trained_at", "weight_power")
    }
    read = _read_sources(folder, arrays, manifest["sources"]) if manifest["sources"] else None
    return Model(**{name: arrays[name] for name in _ARRAYS}, **parameters, sources=read)


def newest_model(root: Path) -> Path | None:
    """Folder of the model trained last among the subfolders of `root` with a readable manifest; None when there is none."""
    manifests = [path for path in root.glob("*/manifest.json") if path.is_file()] if root.is_dir() else []
    dated = {path.parent: at for path in manifests if (at := _trained_at(path)) is not None}
    return max(dated, key=lambda folder: dated[folder]) if dated else None


def _trained_at(manifest: Path) -> str | None:
    try:
        return str(dict(json.loads(manifest.read_text(encoding="utf-8"))).get("trained_at", ""))
    except (OSError, ValueError, TypeError):
        return None


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))
        layout, _ = (
            manifest["layout"],
            [manifest[key] for key in ("version", "files", "regularization", "alpha", "sources")],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IncompatibleModelError(f"model {folder} has no readable manifest.json: {error!r}") from error
    if layout != LAYOUT:
        raise IncompatibleModelError(f"model {folder} has layout {layout}, this version reads {LAYOUT}: train again")
    return manifest


def _read_array(path: Path, expected: str) -> npt.NDArray[Any]:
    if path.is_symlink():
        raise IncompatibleModelError(f"{path} is a link; a model's files are stored in its folder")
    if (actual := _sha256(path)) != expected:
        raise IncompatibleModelError(
            f"{path} has SHA-256 {actual}, the manifest says {expected}: restore or train again"
        )
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except ValueError as error:
        raise IncompatibleModelError(f"{path} is not a plain array: {error}") from error


def _read_sources(folder: Path, arrays: Mapping[str, npt.NDArray[Any]], described: Any) -> ModelSources:
    try:
        sources = make_sources(arrays, described)
    except (KeyError, TypeError) as error:
        raise IncompatibleModelError(
            f"model {folder} has a manifest whose sources lack something: {error!r}"
        ) from error
    if problems := sources.problems(len(arrays["item_ids"])):
        raise IncompatibleModelError(f"model {folder}: {'; '.join(problems)}: train again")
    return sources


def _check_arrays(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    ids, factors, popularity = (arrays[name] for name in _ARRAYS)
    is_shaped = factors.ndim == 2 and ids.shape == popularity.shape == factors.shape[:1] and len(ids) > 0  # noqa: PLR2004
    kinds = ids.dtype.kind == "U" and factors.dtype == np.float32 and popularity.dtype == np.float64
    if not is_shaped or not kinds:
        shapes = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
        raise IncompatibleModelError(f"model {folder} has arrays that do not fit each other: {shapes}")
    if not (np.isfinite(factors).all() and np.isfinite(popularity).all()):
        raise IncompatibleModelError(f"model {folder} has values that are not finite")
    if len(np.unique(ids)) != len(ids):
        raise IncompatibleModelError(f"model {folder} names an item twice")


def _sha256(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IncompatibleModelError(f"{path} cannot be read: {error}") from error
