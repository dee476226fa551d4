"""``conf/triggers.yaml`` -> trigger rules; every problem with file, line and what to write instead."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from pyarrow import fs

from afterclick.errors import TriggerRulesError
from afterclick.trigger_conditions import ConditionError, read_condition
from afterclick.trigger_rules import CartAbandonment, Condition, RepeatedVisits, ReturnAfterAbsence, Rule

logger = logging.getLogger(__name__)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"^(\d+(?:\.\d+)?)\s*([A-Za-z]*)$")


@dataclass(frozen=True)
class CatalogueChange(Rule):
    """A price that fell by `by_percent` or more, or, without it, an item that is back in stock.

    It concerns people who named the item within `within` microseconds before the change and did not buy it since.
    """

    within: int
    by_percent: float | None = None


KINDS: dict[str, tuple[type[Rule], dict[str, str]]] = {
    "cart_abandonment": (CartAbandonment, {"after": "duration", "forget": "duration"}),
    "repeated_visits": (RepeatedVisits, {"of": "thing", "times": "count", "within": "duration"}),
    "return_after_absence": (ReturnAfterAbsence, {"absence": "duration"}),
    "condition": (Condition, {"when": "text"}),
    "price_drop": (CatalogueChange, {"by_percent": "percent", "within": "duration"}),
    "back_in_stock": (CatalogueChange, {"within": "duration"}),
}
"""Rule class and its fields by kind; all have ``name``, ``kind`` and ``cooldown``."""
_DEFAULTS = {"cooldown": "24h", "forget": "24h", "of": "item", "by_percent": "5"}


def kind_of(rule: Rule) -> str:
    """Return the word for a rule's kind."""
    if isinstance(rule, CatalogueChange):
        return "back_in_stock" if rule.by_percent is None else "price_drop"
    return next(word for word, (kind, _) in KINDS.items() if kind is type(rule))


def read_rules(text: str, source: str) -> tuple[Rule, ...]:
    """Return the rules of a file.

    Parameters
    ----------
    source
        Its name, for messages.

    Raises
    ------
    TriggerRulesError
        With every problem: unknown field or kind, wrong unit, a condition that can never hold, a repeated name.
    """
    problems: list[str] = []
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        message = f"{source}:{line}: not YAML: {error.problem}"
        raise TriggerRulesError(message) from error
    reader = _Reader(source, problems)
    rules = [rule for node in reader.entries(root) if (rule := reader.rule(node)) is not None]
    if problems:
        message = f"trigger rules are refused, the running ones stay: {'; '.join(problems)}"
        raise TriggerRulesError(message)
    return tuple(rules)


class Running(NamedTuple):
    """Rules in force and the text they were read from."""

    rules: tuple[Rule, ...]
    text: str


def running_rules(path: str | None, before: str) -> Running:
    """Return the rules to apply now: the file's, or those of the text `before` when it is away or has a mistake.

    Parameters
    ----------
    path
        A local path or an object-store URL that every executor reads; None = no triggers.
    """
    if path is None:
        return Running((), "")
    try:
        text = read_rule_file(path)
        return Running(_read_known(text, path), text)
    except TriggerRulesError as error:
        logger.error("%s", error)  # noqa: TRY400 - the message says it all
        return Running(_read_known(before, "the rules before"), before)


def read_rule_file(path: str) -> str:
    """Return the text of a rule file.

    Raises
    ------
    TriggerRulesError
        If it cannot be read.
    """
    try:
        if "://" not in path:
            return Path(path).read_text(encoding="utf-8")
        filesystem, name = fs.FileSystem.from_uri(path.replace("s3a://", "s3://", 1))
        with filesystem.open_input_stream(name) as stream:
            return str(stream.read().decode())
    except (OSError, UnicodeDecodeError, ValueError) as error:
        message = f"{path} cannot be read: {error}. It is the setting triggers.rules; the running rules stay."
        raise TriggerRulesError(message) from error


@lru_cache(maxsize=8)
def _read_known(text: str, source: str) -> tuple[Rule, ...]:
    return read_rules(text, source)


class _Reader:
    """Walks the nodes of one file and notes each problem with its line."""

    def __init__(self, source: str, problems: list[str]) -> None:
        self._source = source
        self._problems = problems
        self._names: set[str] = set()

    def entries(self, root: yaml.Node | None) -> list[yaml.Node]:
        """Return the nodes under ``rules``."""
        if root is None:
            return []
        if not isinstance(root, yaml.MappingNode):
            self._note(root, "expected `rules:` with a list")
            return []
        found: list[yaml.Node] = []
        for key, value in root.value:
            if key.value != "rules" or not isinstance(value, yaml.SequenceNode):
                self._note(key, f"{key.value!r} is not expected here; write `rules:` with a list")
            else:
                found = value.value
        return found

    def rule(self, node: yaml.Node) -> Rule | None:
        """Return the rule of one entry; None where something is wrong with it."""
        if not isinstance(node, yaml.MappingNode):
            self._note(node, "a rule has fields: name, kind, cooldown and those of its kind")
            return None
        given: dict[str, yaml.Node] = {key.value: value for key, value in node.value}
        kind = getattr(given.get("kind"), "value", None)
        if kind not in KINDS:
            told = f"kind {kind!r} is unknown" if kind else "kind is missing"
            self._note(given.get("kind", node), told + _suggest(str(kind), KINDS))
            return None
        before = len(self._problems)
        wanted = {"name": "text", "cooldown": "duration", **KINDS[kind][1]}
        for key, _ in node.value:
            if key.value not in {*wanted, "kind"}:
                self._note(key, f"{kind} has no field {key.value!r}" + _suggest(key.value, {*wanted, "kind"}))
        fields = {name: self._field(name, unit, given, node) for name, unit in wanted.items()}
        if len(self._problems) > before:
            return None
        return self._build(KINDS[kind][0], fields, given)

    def _field(self, name: str, unit: str, given: Mapping[str, yaml.Node], entry: yaml.Node) -> Any:
        node = given.get(name)
        text = _DEFAULTS.get(name) if node is None else node.value
        if not isinstance(text, str) or not text:
            self._note(node or entry, f"{name} is missing" if node is None else f"{name} must be one value")
            return None
        try:
            return _CONVERTERS[unit](text)
        except ValueError as error:
            self._note(node or entry, f"{name}: {error}")
            return None

    def _build(self, kind: type[Rule], fields: dict[str, Any], given: Mapping[str, yaml.Node]) -> Rule | None:
        if fields["name"] in self._names:
            self._note(given["name"], f"the name {fields['name']!r} is used twice; triggers are told apart by it")
        self._names.add(fields["name"])
        if kind is Condition:
            try:
                fields["variables"], fields["holds"] = read_condition(fields["when"])
            except ConditionError as error:
                self._note(given["when"], str(error))
                return None
        return kind(**fields)

    def _note(self, node: yaml.Node, problem: str) -> None:
        self._problems.append(f"{self._source}:{node.start_mark.line + 1}: {problem}")


def _suggest(word: str, known: Any) -> str:
    near = get_close_matches(word, sorted(known), 1)
    return f"; did you mean {near[0]!r}?" if near else f"; there are {', '.join(sorted(known))}"


def _duration(text: str) -> int:
    found = _DURATION.match(text)
    if not found or found[2] not in _UNITS:
        near = found[1] + found[2][0].lower() if found and found[2][:1].lower() in _UNITS and found[2] else "30m"
        message = f"{text!r} is not a duration with one of the units s, m, h, d; did you mean '{near}'?"
        raise ValueError(message)
    if float(found[1]) == 0:
        message = f"{text!r} must be more than nothing"
        raise ValueError(message)
    return round(float(found[1]) * _UNITS[found[2]] * 1e6)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 2:  # noqa: PLR2004 - one visit repeats nothing
        message = f"{text!r} must be a whole number of at least 2"
        raise ValueError(message)
    return int(text)


def _percent(text: str) -> float:
    value = float(text.removesuffix("%")) if re.match(r"^\d+(\.\d+)?%?$", text) else 0.0
    if not 0 < value <= 100:  # noqa: PLR2004
        message = f"{text!r} must be a percentage above 0, at most 100"
        raise ValueError(message)
    return value


def _thing(text: str) -> str:
    if text not in {"item", "page"}:
        message = f"{text!r} must be item or page"
        raise ValueError(message)
    return text


_CONVERTERS: dict[str, Any] = {
    "duration": _duration, "count": _count, "percent": _percent, "thing": _thing, "text": str,
}  # fmt: skip
