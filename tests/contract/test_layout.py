"""The tree itself: each module has its tests, lib is not ignored, sizes stay small."""

import ast
import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = sorted(p for p in Path("lib/afterclick").rglob("*.py") if p.name != "__init__.py")
# Tested through something larger: what they do shows there.
COVERED_BY = {
    "errors": "everywhere",
    "mlflow_calls": "test_model_registry",
    "removals": "test_ledger",
    "explained_list": "test_notebooks",
    "vocabulary": "test_segment_messages",
    "schemas": "test_schemas",
    "schemas_fates": "test_schemas",
    "schemas_sessions": "test_schemas",
    "schemas_dimensions": "test_schemas",
    "dimension_tables": "test_enrichment",
    "dimension_files": "test_enrichment",
    "activity": "test_aggregate_activity",
    "activity_store": "test_aggregate_activity",
    "schemas_activity": "test_schemas",
    "trigger_replay": "test_triggers_replay",
    "catalogue_triggers": "test_enrichment",
    "session_shards": "test_sessions and test_sessionize",
    "triggers": "test_trigger_rules",
    "trigger_conditions": "test_trigger_file",
    "activity_rules": "test_trigger_rules",
    "session_repair": "test_repair_sessions",
    "repaired_sessions": "test_repair_sessions",
    "session_changes": "test_build_sessions",
    "session_effects": "test_build_sessions",
    "session_store": "test_build_sessions",
    "settings": "test_settings",
    "setting_sections": "test_settings",
    "spark_keys": "test_settings",
    "spark_session": "every Spark test",
    "job_runner": "test_event_to_recommendation",
    "consent_filter": "test_event_fates",
    "pseudonyms": "test_subject_store",
    "subject_admission": "test_subject_store",
    "kept_out": "test_subject_store",
    "redis_erasure": "test_withdrawals",
    "delta_erasure": "test_erasure",
    "erasure_store": "test_erasure",
    "session_state": "test_erasure",
    "kafka_security": "test_store_security",
    "subject_canary": "test_erasure",
    "subject_export": "test_erasure",
    "subject_tables": "test_subject_store",
    "recommender": "test_source_training",
    "listed_reasons": "test_source_training",
    "model_sources": "test_source_training",
    "answers": "test_serving_answers",
    "model_reader": "test_serving_app",
    "session_lists": "test_serving_app",
    "list_maker": "test_serving_app and test_serving_properties",
    "wishes": "test_serving_properties",
    "choosing": "test_serving_answers",
    "catalogue": "test_serving_answers",
    "catalogue_store": "test_serving_properties",
    "metrics": "test_serving_app",
    "serving_settings": "test_settings",
    "shown_log": "test_log_shown_lists",
    "shown_lists": "test_log_shown_lists",
    "schemas_shown": "test_schemas",
    "pipeline_replay": "test_event_to_recommendation",
    "session_neighbours": "test_evaluation",
    "trigger_memory": "test_trigger_rules",
    "blend_training": "test_blend",
    "source_rules": "test_models",
    "replayed_sources": "test_evaluation",
    "evaluated_lists": "test_evaluation",
    "evaluated_ranks": "test_evaluation",
    "factor_training": "test_evaluation",
    "parallel_replay": "test_evaluation",
    "prequential": "test_evaluation",
    "accepted_events": "test_ingest_events",
    "decided_fates": "test_event_fates",
    "quarantine": "test_poisoned_topic",
    "replay_runs": "test_poisoned_topic",
    "version_pointer": "test_switching",
    "redis_scripts": "test_redis_store and test_switching",
    "model_changes": "test_promotion",
    "schemas_relevance": "test_schemas",
    "model_difference": "test_promotion",
    "pyfunc": "test_promotion",
    "pyfunc_model": "test_promotion",
    "served_model": "test_model_registry",
    "interactions": "test_update_recommendations",
    "list_updates": "test_update_recommendations",
    "recommendations": "test_update_recommendations",
    "cli": "test_commands",
    "event_names": "test_segment_messages",
    "list_reader": "test_serving_app",
    "places": "test_list_records",
    "list_routes": "test_serving_app and test_reference",
    "request_ids": "test_logs",
    "status_page": "test_status_views",
    "scraping": "test_status_figures and test_status_views",
    "status_chart": "test_status_figures",
    "app": "test_collector_app and test_serving_app",
    "ingest": "test_collector_app",
    "http_keys": "test_collector_app and test_access_matrix",
    "inspector": "test_collector_app",
    "browser_files": "test_collector_app",
    "messages": "test_segment_messages",
    "event_fields": "test_segment_messages",
    "event_times": "test_segment_messages",
    "tcf": "test_consent_signals",
    "cloud_events": "test_wire_formats",
    "snowplow_messages": "test_wire_formats",
    "devices": "test_wire_formats",
    "key_store": "test_access_keys",
    "rate_limits": "test_access_keys",
    "kafka_source": "test_event_to_recommendation",
    "checkpoints": "test_event_to_recommendation",
    "complete_journey": "test_event_to_recommendation",
    "demo": "test_event_to_recommendation",
    "demo_report": "test_event_to_recommendation",
    "sender": "test_event_to_recommendation",
    "services": "test_event_to_recommendation",
    "kafka": "test_stack",
    "valkey": "test_stack",
    "processes": "test_stack",
    "findings": "test_diagnosis",
    "checks_programs": "test_diagnosis",
    "checks_servers": "test_diagnosis",
    "checks_settings": "test_diagnosis",
    "checks_state": "test_diagnosis",
    "jars": "test_java",
}
COVERED_BY |= dict.fromkeys(
    ("client", "compaction", "joins", "keeper", "rebuild", "run", "totals", "verdict", "watcher"), "test_faults"
) | {"poison": "test_load", "rank": "test_interleaved", "retrain": "test_interleaved", "shoppers": "test_interleaved"}
COVERED_BY |= dict.fromkeys(
    ("collector", "growth", "http_load", "ingest", "memory", "overload", "people", "rebuild", "serving", "start_up"),
    "test_suite",
)
COVERED_BY |= dict.fromkeys(("batch_costs", "process_figures"), "test_cluster_sizes and test_soak")
COVERED_BY["figure_rows"] = "test_figure_pages"
COVERED_BY |= dict.fromkeys(("cluster_costs", "whole_path"), "test_quick_benchmarks")
# tests/clients holds other people's packages.
TEST_FILES = [path for path in Path("tests").rglob("test_*.py") if "clients" not in path.parts]
TESTS = {path.stem.removeprefix("test_") for path in TEST_FILES}


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_every_module_has_its_tests(module: Path) -> None:
    if module.parts[2] == "commands":
        assert "commands" in TESTS
    else:
        assert module.stem in TESTS or module.stem in COVERED_BY


def test_what_covers_another_module_exists() -> None:
    named = {name for text in COVERED_BY.values() for name in text.split() if name.startswith("test_")}

    assert {name.removeprefix("test_") for name in named} <= TESTS


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in TEST_FILES]

    assert len(names) == len(set(names))


@pytest.mark.skipif(not Path(".git").exists(), reason="not a git checkout: ignore rules cannot be asked")
def test_lib_is_not_git_ignored() -> None:
    git = shutil.which("git")
    assert git
    done = subprocess.run([git, "check-ignore", "-q", "lib/afterclick/errors.py"], check=False)  # noqa: S603

    assert done.returncode == 1


@pytest.mark.parametrize("path", [*MODULES, *sorted(Path("jobs").glob("*.py"))], ids=str)
def test_files_and_functions_stay_small(path: Path) -> None:
    """Limits of style.md, section 4: 265 lines a file, 50 lines a function without its docstring."""
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= (400 if path.stem == "setting_sections" else 265)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1
            assert length <= 50, f"{path}:{node.name} has {length} lines"
