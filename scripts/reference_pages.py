"""The pages of ``docs/reference`` from the code: settings, tables, metrics, HTTP. `make golden` writes them."""

import importlib
import inspect
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pyspark.sql.types import StructType

from afterclick.schemas import TABLES
from afterclick.setting_sections import Section
from afterclick.settings import Settings

FOLDER = Path("docs/reference")
_MADE = "<!-- Made from the code by `make golden`: change the code. -->\n\n"


def settings_page() -> str:
    """Return every setting with its type, its default in the code and what it is for."""
    lines = [
        _MADE + "# Settings\n",
        "`conf/base.yaml` < `conf/<environment>.yaml` < (local) `<state_dir>/endpoints.yaml` < variables",
        "`AFTERCLICK_<SECTION>__<KEY>`. Defaults here are the code's; the YAML files have others, with reasons. Spark's keys",
        "stand under `spark`.\n",
    ]
    plain = [(name, one) for name, one in Settings.model_fields.items() if not _section(one)]
    lines += _setting_table([(name, one) for name, one in plain if name != "spark"])
    for name, one in Settings.model_fields.items():
        if section := _section(one):
            lines += [f"\n## {name}\n", f"{_first_sentences(section.__doc__)}\n"]
            lines += _setting_table(section.model_fields.items())
    return "\n".join(lines) + "\n"


def tables_page() -> str:
    """Return every Delta table with what its rows are and its columns."""
    lines = [
        _MADE + "# Tables\n",
        "Delta tables under `storage.tables`, by `afterclick.schemas.TABLES`; times are UTC.\n",
    ]
    for table, schema in TABLES.items():
        lines += [
            f"## {table}\n",
            f"{_comment_above(schema)}\n",
            "| column | type | may be null |",
            "| --- | --- | --- |",
        ]
        lines += [
            f"| `{field.name}` | {field.dataType.simpleString()} | {'yes' if field.nullable else 'no'} |"
            for field in schema
        ]
        lines.append("")
    return "\n".join(lines)


def metrics_page(parts: Mapping[str, str]) -> str:
    """Return every metric of each part.

    Parameters
    ----------
    parts
        Text in Prometheus' format by the part that answers it.
    """
    lines = [
        _MADE + "# Metrics\n",
        "Base units; no label holds an id. How they are scraped: [operations](../operations.md).\n",
    ]
    for part, text in parts.items():
        lines += [f"## {part}\n", "| name | kind | what |", "| --- | --- | --- |"]
        told = dict(re.findall(r"^# HELP (\S+) (.+)$", text, re.MULTILINE))
        kinds = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
        lines += [
            f"| `{name}` | {kind} | {told.get(name, '')} |"
            for name, kind in kinds
            if name.startswith("afterclick") and not name.endswith("_created")
        ]
        lines.append("")
    return "\n".join(lines)


def http_page(documents: Mapping[str, Path]) -> str:
    """Return every route of each service from its OpenAPI document."""
    lines = [_MADE + "# HTTP\n", "Both services show their own document at `/docs`.\n"]
    for service, path in documents.items():
        paths = json.loads(path.read_text(encoding="utf-8"))["paths"]
        lines += [f"## {service}\n", "| route | what | parameters | answers |", "| --- | --- | --- | --- |"]
        lines += [_route(method, route, one) for route, methods in paths.items() for method, one in methods.items()]
        lines.append("")
    return "\n".join(lines)


def _section(field: FieldInfo) -> type[Section] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, Section) else None


def _setting_table(fields: Iterable[tuple[str, FieldInfo]]) -> Iterator[str]:
    yield from ("| key | type | default | what |", "| --- | --- | --- | --- |")
    for name, field in fields:
        default = (
            "**required**" if field.default is PydanticUndefined and not field.default_factory else _default(field)
        )
        yield f"| `{name}` | {_type(field)} | {default} | {_cell(field.description or '')} |"


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    return "–" if value is None or value in ("", (), {}) else f"`{_cell(str(value))}`"


def _type(field: FieldInfo) -> str:
    text = getattr(field.annotation, "__name__", None) if "[" not in str(field.annotation) else None
    return _cell(re.sub(r"\b(?:[a-z_]+\.)+", "", text or str(field.annotation)).replace("NoneType", "None"))


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("``", "`").replace("|", "\\|")


def _first_sentences(text: str | None) -> str:
    return _cell((text or "").split("\n\n")[0])


def _comment_above(schema: StructType) -> str:
    """Return the comment above a schema's constant: what a row is, its key, what may be null."""
    modules = [
        importlib.import_module(f"afterclick.{path.stem}") for path in Path("lib/afterclick").glob("schemas*.py")
    ]
    for module in modules:
        for name in (name for name, value in vars(module).items() if value is schema):
            found = re.search(rf"((?:^# .*\n)+)^{name}\b.* = ", inspect.getsource(module), re.MULTILINE)
            if found:
                return _prose(found[1])
    message = f"no comment stands above the schema of {', '.join(schema.fieldNames()[:3])} ...: write what a row is"
    raise LookupError(message)


def _prose(comment: str) -> str:
    return re.sub(r"^# ?", "", comment, flags=re.MULTILINE).strip().replace("``", "`")


def _route(method: str, route: str, told: Mapping[str, Any]) -> str:
    names = ", ".join(f"`{one['name']}`" for one in told.get("parameters", ()))
    answers = ", ".join(sorted(told["responses"]))
    return f"| `{method.upper()} {route}` | {_cell(told.get('summary', ''))} | {names or '–'} | {answers} |"
