"""A fix file repairs quarantined messages: set, rename and cast fields of their JSON. No Spark, no I/O but the file.

A field is a dotted path; ``items[].price`` means the price of every item. What a fix does not fit stays as it is, and
the suite judges the result again.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import yaml

from afterclick.errors import SettingsError

Json = dict[str, Any]
_MILLISECONDS_FROM = 1e11
"""Epoch numbers from here on are milliseconds, below it seconds (the year 5138)."""


Steps = Sequence[Mapping[str, Mapping[str, Any]]]
"""Steps of a fix file, checked: each has one of the keys ``set``, ``rename`` and ``cast`` with its arguments."""


def read_fixes(path: Path) -> Steps:
    """Read a fix file: ``fixes:`` with a list of steps; dates and times that YAML knows become ISO 8601 text.

    Raises
    ------
    SettingsError
        If the file cannot be read or a step is unknown, incomplete or not for JSON; all problems at once.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        message = f"fix file {path} cannot be read: {error}"
        raise SettingsError(message) from error
    steps = content.get("fixes") if isinstance(content, dict) else None
    if not isinstance(steps, list) or not steps:
        message = f"fix file {path} needs a list `fixes:`, as - set: {{field: items[].quantity, value: 1}}"
        raise SettingsError(message)
    problems = [told for number, step in enumerate(steps, 1) if (told := _problem(step, number))]
    if problems:
        message = f"fix file {path} cannot be used: {'; '.join(problems)}"
        raise SettingsError(message)
    return [_as_json(step) for step in steps]


def repair(value: bytes | None, steps: Steps) -> bytes | None:
    """Return the repaired message; unchanged when it is not a JSON object."""
    try:
        message = json.loads((value or b"").decode())
    except (ValueError, RecursionError):
        return value
    if not isinstance(message, dict):
        return value
    for step in steps:
        for kind, arguments in step.items():
            _APPLY[kind](message, arguments)
    return json.dumps(message, ensure_ascii=False).encode("utf-8", "surrogatepass")


_ARGUMENTS = {
    "set": ({"field", "value"}, {"instead_of"}),
    "rename": ({"from", "to"}, set()),
    "cast": ({"field", "to"}, set()),
}


def _problem(step: Any, number: int) -> str:
    if not isinstance(step, dict) or len(step) != 1 or not isinstance(next(iter(step.values())), dict):
        return f"step {number} is not one of set, rename, cast with arguments"
    kind, arguments = next(iter(step.items()))
    if kind not in _ARGUMENTS:
        return f"step {number}: {kind!r} is not one of {', '.join(_ARGUMENTS)}"
    needed, optional = _ARGUMENTS[kind]
    if missing := needed - arguments.keys():
        return f"step {number} ({kind}) lacks {', '.join(sorted(missing))}"
    if unknown := arguments.keys() - needed - optional:
        return f"step {number} ({kind}) does not know {', '.join(sorted(map(str, unknown)))}"
    told = ", ".join(_unfit(kind, arguments))
    return told and f"step {number} ({kind}): {told}"


def _unfit(kind: str, arguments: Json) -> Iterator[str]:
    """Yield what is wrong with the values of a step's arguments."""
    for name in ("field", "from", "to"):
        if not isinstance(arguments.get(name, ""), str):
            yield f"{name} {arguments[name]!r} is not a text: put it in quotes"
        elif kind == "cast" and name == "to" and arguments["to"] not in _CASTS:
            yield f"to {arguments['to']!r} is not one of {', '.join(_CASTS)}"
    if isinstance(arguments.get("instead_of"), date):
        yield f"instead_of {arguments['instead_of']} is compared as text: put it in quotes, as the messages have it"
    for name in ("value", "instead_of"):
        try:
            _as_json(arguments.get(name))
        except (TypeError, ValueError) as error:
            yield f"{name} {arguments[name]!r} cannot be written as JSON: {error}"


def _as_json(value: Any) -> Any:
    return json.loads(json.dumps(value, default=_iso, allow_nan=False))


def _iso(value: Any) -> str:
    """Return ISO 8601 of a date or a time; one without an offset is in UTC, as YAML says."""
    if not isinstance(value, date):
        raise TypeError(f"{type(value).__name__} is unknown there")
    if not isinstance(value, datetime):
        return value.isoformat()
    moment = value if value.tzinfo else value.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _set(message: Json, arguments: Mapping[str, Any]) -> None:
    for holder, name in _places(message, arguments["field"]):
        if "instead_of" not in arguments or (name in holder and holder[name] == arguments["instead_of"]):
            holder[name] = arguments["value"]


def _rename(message: Json, arguments: Mapping[str, Any]) -> None:
    """Move a value to another name in the same place; a value that is there already stays."""
    new = arguments["to"]
    for holder, name in _places(message, arguments["from"]):
        if name in holder and holder.get(new) is None:
            holder[new] = holder.pop(name)


def _cast(message: Json, arguments: Mapping[str, Any]) -> None:
    cast = _CASTS[arguments["to"]]
    for holder, name in _places(message, arguments["field"]):
        if holder.get(name) is None:
            continue
        try:
            holder[name] = cast(holder[name])
        except (ValueError, TypeError, OverflowError, OSError):
            continue


def _places(message: Any, field: str) -> Iterator[tuple[Json, str]]:
    """Yield the objects that hold the last name of a path."""
    first, _, rest = field.partition(".")
    if not isinstance(message, dict):
        return
    if not rest:
        yield message, first
    elif first.endswith("[]"):
        elements = message.get(first.removesuffix("[]"))
        for element in elements if isinstance(elements, list) else ():
            yield from _places(element, rest)
    else:
        yield from _places(message.get(first), rest)


def _as_integer(value: Any) -> int:
    number = float(value)
    if number != int(number):
        raise ValueError(value)
    return int(value) if isinstance(value, int) else int(number)


def _as_timestamp(value: Any) -> str:
    """Return ISO 8601 UTC of an epoch number, or of a text without an offset, which is taken as UTC."""
    if isinstance(value, int | float):
        seconds = value / 1000 if abs(value) >= _MILLISECONDS_FROM else value
        moment = datetime.fromtimestamp(seconds, UTC)
    else:
        read = datetime.fromisoformat(str(value))
        moment = read if read.tzinfo else read.replace(tzinfo=UTC)
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_CASTS: dict[str, Callable[[Any], Any]] = {
    "string": lambda value: value if isinstance(value, str) else json.dumps(value),
    "integer": _as_integer,
    "number": float,
    "array": lambda value: value if isinstance(value, list) else [value],
    "timestamp": _as_timestamp,
}
_APPLY = {"set": _set, "rename": _rename, "cast": _cast}
