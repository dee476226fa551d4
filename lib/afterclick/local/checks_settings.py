"""Checks of `afterclick doctor`: configuration, variables, secrets, rule files."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from afterclick.errors import AfterclickError, SettingsError, TriggerRulesError
from afterclick.local.findings import Finding, Installation, judged
from afterclick.settings import PREFIX, Settings

NOT_SETTINGS = frozenset(
    f"{PREFIX}{name}"
    for name in (
        "ALERT_URL", "CACHE_DIR", "CONF_DIR", "DAG_RETRIES", "ENVIRONMENT", "GOLDEN", "HOME", "MASTER", "NIGHTLY",
        "PYTHON", "SCHEMATHESIS_EXAMPLES", "SPARK_SUBMIT", "STATE_DIR",
    )
)  # fmt: skip
"""Variables with a meaning of their own, without section and key."""
LEAST_KEY_BYTES = 32
_ADVICE = {
    "base.yaml does not exist": "Run in the project's folder, set AFTERCLICK_CONF_DIR to its conf folder, or make one with "
    "`afterclick init FOLDER`.",
    ".yaml does not exist": "Correct AFTERCLICK_ENVIRONMENT: it names a file of the conf folder, without .yaml.",
    "cannot be read": "Give this user the right to read the file; endpoints.yaml holds the pseudonym key: never make it "
    "anew, restore it from a backup.",
    "Spark's spelling": "Write the key as Spark's documentation does, AFTERCLICK_SPARK__spark.eventLog.enabled, or under "
    "`spark:` in the YAML file.",
    "kafka.bootstrap_servers: Field required": "Run `afterclick up`; on a cluster set the variables named.",
    "privacy.pseudonym_key: Field required": "Restore privacy.pseudonym_key in endpoints.yaml from a backup, or set "
    "AFTERCLICK_PRIVACY__PSEUDONYM_KEY; with a new key everybody is a new person.",
    "Extra inputs": "Correct or remove the key named, in the YAML file or the variable; the known ones are in "
    "lib/afterclick/setting_sections.py.",
}
"""What to do by what the message says; the first that fits."""


def check_settings(seen: Installation) -> Finding:
    """Load the settings as every command does."""
    try:
        settings = seen.load_settings()
    except SettingsError as error:
        told = str(error)
        fix = next((advice for text, advice in _ADVICE.items() if text in told), "Correct the value named.")
        return Finding("settings", False, told, fix)
    return Finding("settings", True, f"{seen.conf_dir}, environment {settings.environment}", "")


def check_variables(seen: Installation) -> Finding:
    """Find variables that look like settings and are read by nobody."""
    lost = [name for name in seen.variables if name.upper().startswith(PREFIX) and not _is_read(name)]
    problems = {f"{name} is read by nobody": _suggestion(name) for name in sorted(lost)}
    return judged("variables", problems, "each AFTERCLICK_ variable is a setting")


def _is_read(name: str) -> bool:
    return name.startswith(PREFIX) and ("__" in name or name in NOT_SETTINGS)


def _suggestion(name: str) -> str:
    near = get_close_matches(name.upper(), [*NOT_SETTINGS, *_setting_names()], 1, 0.8)
    return (
        f"Write {near[0]}, or unset it."
        if near
        else f"Write {PREFIX}<SECTION>__<KEY> with two underscores, or unset it."
    )


def _setting_names() -> Iterable[str]:
    for section, field in Settings.model_fields.items():
        for key in getattr(field.annotation, "model_fields", {}):
            yield f"{PREFIX}{section}__{key}".upper()


def check_secrets(seen: Installation) -> Finding:
    """Look who may read the file with the generated secrets."""
    path = seen.state_dir / "endpoints.yaml"
    if not path.exists():
        return Finding("secrets", True, "none written yet", "")
    mode = path.stat().st_mode & 0o777
    good = not mode & 0o077
    fix = f"Run `chmod 600 {path}`; if others are on this machine, change its keys too (docs/operations.md)."
    return Finding("secrets", good, f"{path} has mode {mode:03o}", "" if good else fix)


def check_pseudonym_key(seen: Installation) -> Finding:
    """Look at the length of the key under which people are looked up."""
    if seen.settings is None:
        return Finding("pseudonym key", True, "not looked at: settings do not load", "")
    length = len(seen.settings.privacy.pseudonym_key.get_secret_value().encode())
    good = length >= LEAST_KEY_BYTES
    fix = (
        f"Make one of {LEAST_KEY_BYTES} bytes (`openssl rand -hex 32`) privacy.pseudonym_key and move this one to "
        "privacy.previous_pseudonym_keys, so that nobody is lost."
    )
    return Finding("pseudonym key", good, f"{length} bytes", "" if good else fix)


def check_rule_files(seen: Installation) -> Finding:
    """Read the trigger rules and the expectation suites."""
    problems: dict[str, str] = {}
    if seen.settings is None:
        return Finding("rule files", True, "not looked at: settings do not load", "")
    try:
        rules = _count_triggers(seen.settings)
    except TriggerRulesError as error:
        problems[str(error)] = "Correct the line named; `afterclick triggers replay` tries rules out."
    folder = seen.settings.conf_dir / "expectations"
    paths = [seen.settings.suite_path("events"), *sorted(folder.rglob("*.json"))]
    for path in dict.fromkeys(paths):
        try:
            _check_suite(path, of_table=path.parent.name == "tables")
        except AfterclickError as error:
            problems[str(error)] = f"Correct {path}, or copy the shipped one with `afterclick init` in another folder."
    return judged("rule files", problems, "" if problems else f"{rules} trigger rules, {len(set(paths))} suites")


def _count_triggers(settings: Settings) -> int:
    from afterclick.trigger_file import read_rule_file, read_rules  # noqa: PLC0415 - doctor names missing packages itself

    path = settings.triggers.rules
    return len(read_rules(read_rule_file(path), path)) if path and "://" not in path else 0


def _check_suite(path: Path, *, of_table: bool) -> None:
    from afterclick.quality import read_suite  # noqa: PLC0415 - as above

    read_suite(path, of_table=of_table)
