"""Each step of a fix file does what it says and leaves alone what it does not fit."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from afterclick.errors import SettingsError
from afterclick.quarantine_fixes import read_fixes, repair


def repaired(message: dict[str, Any], *steps: dict[str, Any]) -> Any:
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
        ({"fixes": [{"cast": {"field": "a", "to": "money"}}]}, "cast to 'money'"),
        ({"fixes": ["set"]}, "step 1 is not one of"),
        ({"fixes": [{"set": {}}, {"rename": {}}]}, "step 1.*step 2"),
    ],
)
def test_read_fixes_lists_all_problems(tmp_path: Path, content: Any, told: str) -> None:
    path = tmp_path / "fix.yaml"
    path.write_text(yaml.safe_dump(content))

    with pytest.raises(SettingsError, match=told):
        read_fixes(path)


def test_read_fixes_says_why_when_there_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        read_fixes(tmp_path / "none.yaml")
