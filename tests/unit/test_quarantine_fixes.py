"""Each step of a fix file does what it says and leaves alone what it does not fit."""

import json
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterclick.errors import SettingsError
from afterclick.quarantine_fixes import read_fixes, repair


def repaired(message: dict[str, Any], *steps: Mapping[str, Any]) -> Any:
    return json.loads(repair(json.dumps(message).encode(), steps) or b"null")


def test_set_writes_a_field_of_every_item() -> None:
    message = {"items": [{"quantity": 0}, {"quantity": 2}, {}]}

    assert repaired(message, {"set": {"field": "items[].quantity", "value": 1}}) == {"items": [{"quantity": 1}] * 3}


def test_set_replaces_only_the_value_named() -> None:
    message = {"items": [{"quantity": 0}, {"quantity": 2}, {}]}

    steps = {"set": {"field": "items[].quantity", "value": 1, "instead_of": 0}}

    assert repaired(message, steps) == {"items": [{"quantity": 1}, {"quantity": 2}, {}]}


def test_rename_moves_a_value_and_keeps_one_that_is_there() -> None:
    step = {"rename": {"from": "userId", "to": "subject_id"}}

    assert repaired({"userId": "a", "subject_id": None}, step) == {"subject_id": "a"}
    assert repaired({"userId": "a", "subject_id": "b"}, step) == {"userId": "a", "subject_id": "b"}
    assert repaired({}, step) == {}


@pytest.mark.parametrize(
    ("to", "value", "expected"),
    [
        ("number", "1.50", 1.5),
        ("number", "free", "free"),
        ("integer", "2", 2),
        ("integer", 2.0, 2),
        ("integer", 1.5, 1.5),
        ("integer", 2**60 + 1, 2**60 + 1),
        ("string", 7, "7"),
        ("string", "7", "7"),
        ("array", {"a": 1}, [{"a": 1}]),
        ("array", [1], [1]),
        ("timestamp", 1_795_607_999_000, "2026-11-25T11:59:59.000Z"),
        ("timestamp", 1_795_607_999, "2026-11-25T11:59:59.000Z"),
        ("timestamp", "2026-11-24 11:59:59", "2026-11-24T11:59:59.000Z"),
        ("timestamp", "2026-11-24T12:59:59+01:00", "2026-11-24T11:59:59.000Z"),
        ("timestamp", "soon", "soon"),
        ("timestamp", 10**300, 10**300),
        ("number", None, None),
    ],
)
def test_cast_changes_what_fits_and_nothing_else(to: str, value: Any, expected: Any) -> None:
    answer = repaired({"a": value}, {"cast": {"field": "a", "to": to}})

    assert answer == {"a": expected}
    assert type(answer["a"]) is type(expected)


@pytest.mark.parametrize("value", [None, b"", b"\xff", b"[1]", b"{"])
def test_repair_leaves_alone_what_is_no_json_object(value: bytes | None) -> None:
    assert repair(value, [{"set": {"field": "a", "value": 1}}]) == value


@pytest.mark.parametrize("message", [{"items": "mug"}, {"items": [1, None]}, {"items": None}, {}])
def test_a_path_that_does_not_fit_changes_nothing(message: dict[str, Any]) -> None:
    assert repaired(message, {"cast": {"field": "items[].price", "to": "number"}}) == message


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"fixes": []}, "needs a list"),
        ([], "needs a list"),
        ({"fixes": [{"drop": {"field": "a"}}]}, "'drop' is not one of set, rename, cast"),
        ({"fixes": [{"set": {"field": "a"}}]}, r"step 1 \(set\) lacks value"),
        ({"fixes": [{"set": {"field": "a", "value": 1, "when": 2}}]}, "does not know when"),
        ({"fixes": [{"cast": {"field": "a", "to": "money"}}]}, "to 'money' is not one of string"),
        ({"fixes": ["set"]}, "step 1 is not one of"),
        ({"fixes": [{"set": {}}, {"rename": {}}]}, "step 1.*step 2"),
        ({"fixes": [{"set": {"field": "a", "value": 1, 5: 2}}]}, "does not know 5"),
        ({"fixes": [{"set": {"field": 5, "value": "x"}}]}, r"step 1 \(set\): field 5 is not a text"),
        ({"fixes": [{"cast": {"field": None, "to": "number"}}]}, r"step 1 \(cast\): field None is not a text"),
        ({"fixes": [{"cast": {"field": "a", "to": ["number"]}}]}, r"step 1 \(cast\): to \['number'\] is not a text"),
        ({"fixes": [{"rename": {"from": 1, "to": True}}]}, "from 1 is not a text.*, to True is not a text"),
        (
            {"fixes": [{"set": {"field": "a", "value": {1, 2}}}]},
            r"step 1 \(set\): value {1, 2} cannot be written as JSON",
        ),
        ({"fixes": [{"set": {"field": "a", "value": [b"x"]}}]}, r"value \[b'x'\] cannot be written as JSON"),
        ({"fixes": [{"set": {"field": "a", "value": float("nan")}}]}, "value nan cannot be written as JSON"),
        ({"fixes": [{"set": {"field": "a", "value": 1, "instead_of": date(2026, 11, 26)}}]}, "instead_of .* in quotes"),
    ],
)
def test_read_fixes_lists_all_problems(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text(yaml.safe_dump(content))

    with pytest.raises(SettingsError, match=told):
        read_fixes(path)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2026-11-26T10:00:00Z", "2026-11-26T10:00:00Z"),
        ("2026-11-26T11:00:00.5+01:00", "2026-11-26T10:00:00.500000Z"),
        ("2026-11-26 10:00:00", "2026-11-26T10:00:00Z"),
        ("2026-11-26", "2026-11-26"),
        ("{since: [2026-11-26T10:00:00Z]}", {"since": ["2026-11-26T10:00:00Z"]}),
    ],
)
def test_times_of_a_fix_file_need_no_quotes(tmp_path: Path, written: str, expected: Any) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text(f"fixes:\n  - set: {{field: event_at, value: {written}}}\n")

    assert repaired({"event_at": "yesterday"}, *read_fixes(path)) == {"event_at": expected}


def test_read_fixes_says_why_when_a_date_does_not_exist(tmp_path: Path) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text("fixes:\n  - set: {field: event_at, value: 2026-13-26}\n")

    with pytest.raises(SettingsError, match="cannot be read: month must be in"):
        read_fixes(path)


def test_read_fixes_says_why_when_the_encoding_is_another(tmp_path: Path) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text("fixes:\n  - set: {field: city, value: Zoë}\n", encoding="latin-1")

    with pytest.raises(SettingsError, match="cannot be read: 'utf-8' codec"):
        read_fixes(path)


def test_read_fixes_says_why_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_fixes(tmp_path / "none.yaml")
