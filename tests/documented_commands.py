"""The commands in README.md and ``docs``: fenced shell blocks line by line, and code in the text that is a command."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

DOCUMENTS = (Path("README.md"), *sorted(Path("docs").glob("*.md")), *sorted(Path("docs").glob("*/*.md")))
_PROGRAMS = (
    "afterclick", "make", "./spark-submit.sh", "python", ".venv/bin/python", ".venv/bin/afterclick", "pip", "jupyter", "curl",
    "prometheus", "promtool", "git", "cp", "install", "systemctl", "docker", "kubectl", "databricks", "mlflow",
    ".venv-airflow/bin/airflow",
)  # fmt: skip
_SHELL = ("", "sh", "bash", "console")


@dataclass(frozen=True)
class DocumentedCommand:
    """One command as it is written; `is_block` when it stands in a fenced block and must be complete."""

    place: str
    text: str
    is_block: bool

    @property
    def words(self) -> list[str]:
        """Return the words a shell would hand over, variables before the program left out."""
        words = shlex.split(re.sub(r"\$\([^)]*\)", "2026-11-26", self.text))
        while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
            words = words[1:]
        return [words[0].replace(".venv/bin/afterclick", "afterclick"), *words[1:]]


def documented_commands() -> list[DocumentedCommand]:
    """Return every command, alternatives (``a|b``) apart, in the order of the documents."""
    return [command for document in DOCUMENTS if "decisions" not in document.parts for command in _read(document)]


def _read(document: Path) -> Iterator[DocumentedCommand]:
    language: str | None = None
    pending = ""
    for number, line in enumerate(document.read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("```"):
            language = None if language is not None else line.strip("` ")
            continue
        if language is not None and language not in _SHELL:
            continue
        texts = [pending + line] if language is not None else re.findall(r"`([^`]+)`", line)
        pending = ""
        if language is not None and line.endswith("\\"):
            pending = texts[0][:-1]
            continue
        for text in texts:
            for part in _parts(text):
                if _is_command(part, is_block=language is not None):
                    yield DocumentedCommand(f"{document}:{number}", part, language is not None)


def _parts(text: str) -> Iterator[str]:
    """Yield the commands of a line: what stands between ``&&``, without a comment, each alternative by itself."""
    for part in re.split(r"\s&&\s", re.sub(r"(^|\s)#\s.*$", "", text)):
        choices = [
            word.split("|") if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", word) else [word] for word in part.split(" ")
        ]
        yield from (" ".join(words).strip() for words in product(*choices))


def _is_command(text: str, *, is_block: bool) -> bool:
    without_variables = re.sub(r"^([A-Z_]+=\S*\s+)+", "", text)
    program, _, rest = without_variables.partition(" ")
    return program in _PROGRAMS and (is_block or bool(rest))


def key_of(command: DocumentedCommand) -> str:
    """Return what a command is called: its program and what it is told to do, without options and arguments."""
    program, *rest = command.words
    if program in {"afterclick", "docker", "kubectl", "databricks"}:
        return " ".join([program, *_leading(rest, 2)])
    if program.startswith(("python", ".venv/bin/python")):
        return " ".join(["python", *rest[:2]])
    return " ".join([program, *_leading(rest, 1)])


def _leading(words: list[str], most: int) -> list[str]:
    found: list[str] = []
    for word in words[:most]:
        if not re.fullmatch(r"[a-z][a-z_-]+", word):
            break
        found.append(word)
    return found
