"""A marker is found however it is written: raw, hexadecimal, URL-encoded, base64 inside any text, compressed, in Parquet."""

import base64
import gzip
import zipfile
from pathlib import Path
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from afterclick.subject_audit import _file_contents, _pattern, encodings

MARKER = "canary-5f0c/é+1"


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz"])
@pytest.mark.parametrize("after", ["", "z", "zz"])
def test_base64_is_found_at_every_alignment(before: str, after: str) -> None:
    written = (before + MARKER + after).encode()

    for coded in (base64.b64encode(written), base64.urlsafe_b64encode(written)):
        assert _pattern([MARKER]).search(b'{"v": "' + coded + b'"}')


@pytest.mark.parametrize(
    "written",
    [MARKER.encode(), MARKER.encode().hex().encode(), quote(MARKER).encode(), quote(MARKER, safe="").encode()],
    ids=["raw", "hex", "url_with_slashes", "url"],
)
def test_other_codings_are_found(written: bytes) -> None:
    assert _pattern([MARKER]).search(b"before " + written + b" after")


def test_another_person_s_marker_is_not_found() -> None:
    assert not _pattern([MARKER]).search(base64.b64encode(b"canary-5f0d-another") + b"canary-5f0d")


def test_every_coding_is_long_enough_not_to_occur_by_chance() -> None:
    assert min(map(len, encodings("0123456789abcdef"))) >= 16


@pytest.mark.parametrize("kind", ["parquet", "gz", "zip"])
def test_compressed_files_are_decoded(tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"data.{kind}"
    if kind == "parquet":
        pq.write_table(pa.table({"raw": [MARKER.encode() * 40], "n": [1]}), file, compression="zstd")
    elif kind == "gz":
        file.write_bytes(gzip.compress(MARKER.encode() * 40))
    else:
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("part", MARKER * 40)

    _, decoded = _file_contents(file)

    pattern = _pattern([MARKER if kind != "parquet" else "canary-5f0c"])
    assert pattern.search(decoded)


def test_a_damaged_file_is_searched_raw(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PK" + MARKER.encode())

    assert [MARKER.encode() in content for content in _file_contents(tmp_path / "bad.parquet")] == [True]
