"""Every command in README.md and docs exists with the options shown; tests/e2e/test_newcomer.py runs them."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer._click.exceptions import MissingParameter, NoArgsIsHelpError  # they are not exported

from afterclick.cli import app
from documented_commands import DOCUMENTS, DocumentedCommand, documented_commands, key_of

COMMANDS = documented_commands()
ELSEWHERE = json.loads(Path("tests/contract/documented_elsewhere.json").read_text(encoding="utf-8"))


def of(*programs: str) -> list[DocumentedCommand]:
    return [command for command in COMMANDS if command.words[0] in programs]


def named(command: DocumentedCommand) -> str:
    return f"{command.place} {key_of(command)}"


@pytest.mark.parametrize("command", of("afterclick"), ids=named)
def test_our_program_takes_the_command(
    command: DocumentedCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Parsed by the program itself, without running it; a mention in the text may leave arguments out."""
    monkeypatch.chdir(tmp_path)
    for word in command.words:
        if re.fullmatch(r"LOG|FILE|[\w/-]+\.(parquet|csv|yaml|json)", word):
            (tmp_path / word).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / word).touch()
    found: Any = typer.main.get_command(app)  # typer has a copy of click inside, without public types
    context, words = None, command.words[1:]
    try:
        while hasattr(found, "commands") and words and not words[0].startswith("-"):
            name = words.pop(0)
            assert name in found.commands, f"{command.place}: there is no {name!r}"
            context = typer.Context(found, parent=context, info_name=name)
            found = found.commands[name]
        found.make_context(command.words[0], list(words), parent=context)
    except (MissingParameter, NoArgsIsHelpError):
        assert not command.is_block, f"{command.place} is not complete: {command.text}"
    except typer.Exit:
        assert "--help" in command.words


@pytest.mark.parametrize("command", of("make"), ids=named)
def test_make_has_the_target(command: DocumentedCommand) -> None:
    makefile = Path("Makefile").read_text(encoding="utf-8")
    target, *variables = command.words[1:]

    assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)
    assert all(
        f"$({name})" in makefile or f"(or $({name})" in makefile for name in (v.split("=")[0] for v in variables)
    )


@pytest.mark.parametrize("command", of("./spark-submit.sh"), ids=named)
def test_job_and_its_options_exist(command: DocumentedCommand) -> None:
    job, *rest = command.words[1:]
    if job in {"JOB", "pack"}:
        return
    text = Path("jobs", f"{job}.py").read_text(encoding="utf-8")

    assert all(f'"{word}"' in text for word in rest if word.startswith("--") and word != "--dry-run")


@pytest.mark.parametrize("command", of("python", ".venv/bin/python"), ids=named)
def test_module_exists(command: DocumentedCommand) -> None:
    _, option, module = command.words[:3]

    assert option == "-m"
    assert Path(f"{module.replace('.', '/')}.py").exists()


def test_commands_that_run_elsewhere_are_documented_and_their_tests_exist() -> None:
    """Here: no list that outlives what it lists."""
    assert set(ELSEWHERE) <= {key_of(command) for command in COMMANDS}
    for key, told in ELSEWHERE.items():
        for test in re.findall(r"tests/\S+\.py", told):
            assert Path(test).exists(), f"{key}: {test}"
        if key.startswith("afterclick") and told.startswith("tests/"):
            words = key.split()[1:]
            text = "".join(Path(test).read_text(encoding="utf-8") for test in re.findall(r"tests/\S+\.py", told))
            assert all(word in text for word in words), f"{key} is not in {told}"


def test_what_is_not_run_elsewhere_is_typed_by_the_newcomer() -> None:
    text = Path("tests/e2e/test_newcomer.py").read_text(encoding="utf-8") + Path("tests/newcomer.py").read_text("utf-8")
    left = {key_of(command) for command in COMMANDS} - set(ELSEWHERE)
    typed = {key for key in left if all(word in text for word in shlex.split(key))}

    assert left - typed == set()


def test_there_is_something_to_read() -> None:
    assert len(COMMANDS) > 100
    assert sum(command.is_block for command in COMMANDS) > 25


LINK = re.compile(
    r"\[[^\]]+\]\(([^)\s]+)\)|`(docs/[\w./-]+\.(?:md|json))`|`((?:lib|jobs|tests|conf|deploy|scripts)/[\w./-]+)`"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_links_and_named_files_lead_somewhere(document: Path) -> None:
    """Pages of the web are not asked: a test without a network."""
    broken = []
    for link, page, file in LINK.findall(document.read_text(encoding="utf-8")):
        if link.startswith(("https://", "http://")):
            continue
        path, _, anchor = (link or page or file).partition("#")
        target = (document.parent / path if link else Path(path)) if path else document
        if not target.exists() and not list(Path().glob(str(target))):
            broken.append(link or page or file)
        elif anchor and anchor not in anchors(target):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
