"""A model's files: read back exactly, and refused when anything about them changed."""

import json
from pathlib import Path

import numpy as np
import pytest

from afterclick.errors import IncompatibleModelError
from afterclick.models import item_keys, load_model, newest_model, save_model
from builders import make_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(make_model(), tmp_path / "v1")
    return tmp_path / "v1"


def test_load_model_returns_what_was_saved(folder: Path) -> None:
    model, loaded = make_model(), load_model(folder)

    assert loaded.item_ids.tolist() == model.item_ids.tolist()
    assert (loaded.item_factors == model.item_factors).all()
    assert (loaded.version, loaded.event_weights) == (model.version, model.event_weights)


def test_index_of_finds_items_and_says_minus_one_for_others() -> None:
    model = make_model(items=50)

    found = model.index_of(item_keys(["item-7", "nowhere", "item-0"]))

    assert found.tolist() == [7, -1, 0]


def spoil_manifest(folder: Path, **changes: object) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_load_model_refuses_when_a_byte_changed(folder: Path) -> None:
    content = bytearray((folder / "popularity.npy").read_bytes())
    content[-1] ^= 1
    (folder / "popularity.npy").write_bytes(content)

    with pytest.raises(IncompatibleModelError, match="SHA-256"):
        load_model(folder)


def test_load_model_refuses_when_a_file_was_added(folder: Path) -> None:
    (folder / "extra.pkl").write_bytes(b"x")

    with pytest.raises(IncompatibleModelError, match=r"extra\.pkl"):
        load_model(folder)


def test_load_model_refuses_when_a_file_is_missing(folder: Path) -> None:
    (folder / "item_ids.npy").unlink()

    with pytest.raises(IncompatibleModelError, match="expected"):
        load_model(folder)


def test_load_model_refuses_a_link(folder: Path, tmp_path: Path) -> None:
    (folder / "popularity.npy").rename(tmp_path / "elsewhere.npy")
    (folder / "popularity.npy").symlink_to(tmp_path / "elsewhere.npy")

    with pytest.raises(IncompatibleModelError, match="is a link"):
        load_model(folder)


def test_load_model_refuses_another_layout(folder: Path) -> None:
    spoil_manifest(folder, layout=99)

    with pytest.raises(IncompatibleModelError, match="layout 99"):
        load_model(folder)


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"item_factors": np.full((5, 4), np.nan, np.float32)}, "not finite"),
        ({"item_factors": np.zeros((4, 4), np.float32)}, "do not fit"),
        ({"item_ids": np.array(["a", "a", "b", "c", "d"])}, "twice"),
        ({"item_ids": np.array(["a", None, "b", "c", "d"], object)}, "plain array|Object arrays|allow_pickle"),
    ],
    ids=["nan", "shape", "repeated_item", "pickled_objects"],
)
def test_load_model_refuses_arrays_that(tmp_path: Path, fault: dict[str, np.ndarray], told: str) -> None:
    save_model(make_model(), tmp_path)
    for name, array in fault.items():
        np.save(tmp_path / f"{name}.npy", array, allow_pickle=True)
    files = {
        f"{name}.npy": {"sha256": digest(tmp_path / f"{name}.npy")}
        for name in ("item_ids", "item_factors", "popularity")
    }
    spoil_manifest(tmp_path, files=files)

    with pytest.raises(IncompatibleModelError, match=told):
        load_model(tmp_path)


def digest(path: Path) -> str:
    import hashlib

    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_newest_model_goes_by_training_time(tmp_path: Path) -> None:
    assert newest_model(tmp_path) is None
    for version, trained_at in (("b", "2026-11-01T00:00:00Z"), ("a", "2026-11-02T00:00:00Z")):
        save_model(make_model(version=version, trained_at=trained_at), tmp_path / version)

    assert newest_model(tmp_path) == tmp_path / "a"


@pytest.mark.parametrize("written", [b"", b'{"layout": 2, "trai', b"[1]", b"3", b"\xff"])
def test_newest_model_passes_over_a_manifest_that_cannot_be_read(folder: Path, written: bytes) -> None:
    half = folder.parent / "v2"
    half.mkdir()
    (half / "manifest.json").write_bytes(written)

    assert newest_model(folder.parent) == folder


def test_a_save_that_ends_inside_the_manifest_leaves_none_and_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(path: Path, text: str, **_: str) -> None:
        path.write_bytes(text.encode()[: len(text) // 2])
        raise OSError("disk full")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_text", half)
        with pytest.raises(OSError, match="disk full"):
            save_model(make_model(), tmp_path)

    assert not (tmp_path / "manifest.json").exists()
    save_model(make_model(), tmp_path)
    assert load_model(tmp_path).version == make_model().version


def test_item_keys_are_fixed_for_ever() -> None:
    assert item_keys(["mug", "Ü"]).tolist() == [87999572424904667, 1870656727519825937]
