"""The condition language of triggers: comparisons of a person's aggregates, by simpleeval (no `eval`)."""

import ast
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from itertools import product

import simpleeval

from afterclick.activity_rules import VARIABLES, WINDOWS

_MOST_CASES = 20_000
_LANGUAGE = (
    ast.Expr, ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Name, ast.Constant, ast.boolop, ast.unaryop,
    ast.operator, ast.cmpop, ast.expr_context,
)  # fmt: skip
_OPERATORS = {
    kind: simpleeval.DEFAULT_OPERATORS[kind]
    for kind in (
        ast.Add, ast.Sub, ast.Mult, ast.Div, ast.USub, ast.Not, ast.Eq, ast.NotEq, ast.Gt, ast.Lt, ast.GtE, ast.LtE,
    )
}  # fmt: skip


class ConditionError(ValueError):
    """Raised when a condition cannot be read, names something unknown, or can never hold."""


def read_condition(text: str) -> tuple[tuple[str, ...], Callable[[Mapping[str, float]], bool]]:
    """Return the variables a condition reads, and the condition.

    Raises
    ------
    ConditionError
        With what to write instead, where a variable's name is nearly right.
    """
    evaluator = simpleeval.SimpleEval(operators=_OPERATORS, functions={})
    try:
        parsed = evaluator.parse(text)
    except (SyntaxError, simpleeval.InvalidExpression) as error:
        message = f"{text!r} is not a condition: {error}"
        raise ConditionError(message) from error
    if foreign := [type(node).__name__ for node in ast.walk(parsed) if not isinstance(node, _LANGUAGE)]:
        told = "write comparisons of aggregates and numbers with and, or, not"
        message = f"{text!r} is not a condition: {foreign[0]} does not belong to the language; {told}"
        raise ConditionError(message)
    variables = tuple(sorted({node.id for node in ast.walk(parsed) if isinstance(node, ast.Name)}))
    for name in variables:
        if name not in VARIABLES:
            near = get_close_matches(name, VARIABLES, 1)
            message = f"unknown variable {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
            raise ConditionError(message)
    if not variables:
        message = f"{text!r} reads no aggregate, so it says nothing about a person; those are {', '.join(VARIABLES)}"
        raise ConditionError(message)

    def holds(values: Mapping[str, float]) -> bool:
        evaluator.names = dict(values)
        try:
            return bool(evaluator.eval(text, parsed))
        except ZeroDivisionError:
            return False

    _refuse_impossible(text, parsed, variables, holds)
    return variables, holds


def enough(condition: str) -> dict[str, int]:
    """Return from which count on a variable makes no difference to a readable condition: it is only compared with less.

    Left out are variables that are calculated with, compared with each other, or decayed: those always make one.
    """
    parsed = ast.parse(condition.strip(), mode="eval")
    limits: dict[ast.Name, float] = {}
    for node in (node for node in ast.walk(parsed) if isinstance(node, ast.Compare)):
        sides = [node.left, *node.comparators]
        names = [side for side in sides if isinstance(side, ast.Name)]
        if len(names) == 1:
            limits[names[0]] = max(_size(side) for side in sides if side is not names[0])
    most: dict[str, float] = {}
    for use in (node for node in ast.walk(parsed) if isinstance(node, ast.Name)):
        limit = math.inf if use.id.endswith("_decayed") else limits.get(use, math.inf)
        most[use.id] = max(limit, most.get(use.id, 0.0))
    return {name: int(limit) + 1 for name, limit in most.items() if limit < math.inf}


def _size(node: ast.AST) -> float:
    """Return the size of a number with or without a minus; of all else infinity."""
    number = _number(node.operand if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) else node)
    return math.inf if number is None else number


def _refuse_impossible(
    text: str, parsed: ast.AST, variables: tuple[str, ...], holds: Callable[[Mapping[str, float]], bool]
) -> None:
    """Try the values next to the numbers in the condition, and refuse it where none makes it true."""
    numbers = {number for node in ast.walk(parsed) if (number := _number(node)) is not None}
    steps = sorted({max(0.0, number + step) for number in {0.0, 1000.0, *numbers} for step in (-1, -0.5, 0, 0.5, 1)})
    whole = [step for step in steps if step.is_integer()]
    cases = product(*[steps if name.endswith("_decayed") else whole for name in variables])
    for tried, values in enumerate(cases):
        if tried == _MOST_CASES:
            return
        case = dict(zip(variables, values, strict=True))
        if not _is_possible(case):
            continue
        try:
            if holds(case):
                return
        except (simpleeval.InvalidExpression, TypeError) as error:
            message = f"{text!r} is not a condition: {error}"
            raise ConditionError(message) from error
    message = f"{text!r} can never hold: counts are whole numbers from 0, and a longer window counts no less"
    raise ConditionError(message)


def _number(node: ast.AST) -> float | None:
    value = node.value if isinstance(node, ast.Constant) else None
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _is_possible(case: Mapping[str, float]) -> bool:
    """Tell whether longer windows count at least what shorter ones do, and all events at least one type's."""
    spans = list(WINDOWS)
    for name, value in case.items():
        counted, window = name.rsplit("_", 1)
        for longer in spans[spans.index(window) + 1 :] if window in spans else ():
            if case.get(f"{counted}_{longer}", value) < value:
                return False
        if case.get(f"events_{window}", value) < value:
            return False
    return True
