"""The command-line program: ``afterclick --help``.

Commands live in `commands`; each imports Spark, pandas and the like only when it runs, so that help
appears at once.
"""

import sys

import typer
from rich.console import Console
from rich.markup import escape

from afterclick import __version__
from afterclick.commands import (
    bench,
    collector,
    demo,
    evaluate,
    faults,
    history,
    items,
    keys,
    ledger,
    model,
    project,
    quarantine,
    serving,
    sessionize,
    stack,
    subjects,
    triggers,
)
from afterclick.errors import AfterclickError

app = typer.Typer(
    help="Behaviour events in, personal recommendations out. Start with `afterclick demo`.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: rich takes a tenth of a second to load for it
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
model_app = typer.Typer(help="The model registry.", no_args_is_help=True)
app.add_typer(model_app, name="model")
items_app = typer.Typer(help="What may be listed.", no_args_is_help=True)
app.add_typer(items_app, name="items")
keys_app = typer.Typer(help="Keys of clients: write keys and keys for requests.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
ledger_app = typer.Typer(help="Where every message went.", no_args_is_help=True)
app.add_typer(ledger_app, name="ledger")
quarantine_app = typer.Typer(help="Refused messages: why, and how to take them in.", no_args_is_help=True)
app.add_typer(quarantine_app, name="quarantine")
faults_app = typer.Typer(help="Kill processes under load and account for every event.", no_args_is_help=True)
app.add_typer(faults_app, name="faults")
triggers_app = typer.Typer(help="Trigger rules.", no_args_is_help=True)
app.add_typer(triggers_app, name="triggers")

app.command()(stack.up)
app.command()(stack.down)
app.command()(stack.doctor)
app.command()(project.init)
app.command()(demo.demo)
app.command()(collector.collector)
app.command()(serving.serve)
app.command("rebuild-cache")(serving.rebuild_cache)
app.command("import")(history.import_history)
app.command()(history.replay)
app.command()(sessionize.sessionize)
app.command()(bench.bench)
app.command()(evaluate.evaluate)
items_app.command()(items.withdraw)
items_app.command()(items.restore)
items_app.command("list")(items.list_withdrawn)
model_app.command("list")(model.list_models)
subjects_app = typer.Typer(help="People: consent, erasure with receipts, export.", no_args_is_help=True)
app.add_typer(subjects_app, name="subjects")
for _of_people in (
    subjects.consent,
    subjects.erase,
    subjects.receipt,
    subjects.export,
    subjects.canary,
    subjects.audit,
):
    subjects_app.command()(_of_people)
keys_app.command()(keys.create)
keys_app.command("list")(keys.list_keys)
keys_app.command()(keys.rotate)
keys_app.command()(keys.revoke)
ledger_app.command("check")(ledger.check)
quarantine_app.command("list")(quarantine.list_reasons)
quarantine_app.command()(quarantine.inspect)
quarantine_app.command()(quarantine.replay)
faults_app.command()(faults.run)
triggers_app.command("replay")(triggers.replay)
for _command in (
    model.gate,
    model.switch,
    model.verify,
    model.changes,
    model.promote,
    model.rollback,
    model.alias,
    model.drift,
    model.diff,
):
    model_app.command()(_command)


@faults_app.callback()
def _faults() -> None:
    """Keep ``run`` a command of its own: typer would take a single one for the program itself."""


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


def main() -> int:
    """Run the program; errors we raise on purpose print one message and exit with 1."""
    try:
        app()
    except AfterclickError as error:
        Console(stderr=True).print(f"[red]error[/red] {escape(str(error))}", highlight=False, soft_wrap=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
