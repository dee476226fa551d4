"""Both OpenAPI documents fuzzed with schemathesis, against real Kafka and Valkey.

AFTERCLICK_SCHEMATHESIS_EXAMPLES sets how many cases each operation gets; 400 make more than 10,000 in all.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from schemathesis.core.result import Ok

from afterclick.collector import app as collector
from afterclick.collector.event_sink import KafkaSink
from afterclick.connectors import redis_store
from afterclick.models import save_model
from afterclick.served_model import model_folder, read_recommender
from afterclick.serving import app as serving
from afterclick.settings import Settings
from builders import make_model
from nightly import NIGHTLY

EXAMPLES = int(os.environ.get("AFTERCLICK_SCHEMATHESIS_EXAMPLES", "8"))  # noqa: TID251
KEY = "test-write-key"
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance")
pytestmark = [NIGHTLY, pytest.mark.timeout(3600)]


@pytest.fixture
def client(live: Settings, request: pytest.FixtureRequest) -> Iterator[TestClient]:
    if request.param == "collector":
        app = collector.create_app(live, KafkaSink(live.kafka, live.collector), lambda: datetime.now(UTC))
    else:
        save_model(make_model(items=30), model_folder(live, "v1"))
        store = redis_store.connect(live.redis)
        store.write_popular(read_recommender(live, "v1").popular(1))
        store.switch_version("v1")
        app = serving.create_app(live)
    with TestClient(app) as opened:
        yield opened


@pytest.mark.parametrize("client", ["collector", "serving"], indirect=True)
def test_no_case_of_the_document_breaks_its_promises(client: TestClient, tmp_path: Path) -> None:
    schemathesis.checks.load_all_checks()
    checks: Any = schemathesis.checks.CHECKS.get_by_names(CHECKS)
    schema = schemathesis.openapi.from_dict(client.get("/openapi.json").json())
    cases = 0
    for found in schema.get_all_operations():
        assert isinstance(found, Ok)
        operation = found.ok()

        @hypothesis_settings(
            max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
        )
        @given(case=operation.as_strategy())
        def run(case: Any) -> None:
            nonlocal cases
            cases += 1
            arguments = case.as_transport_kwargs(base_url="http://testserver")
            arguments.pop("cookies", None)
            if cases % 4:  # most requests have a key, so that they get past the door
                arguments["headers"] = {**arguments.get("headers", {}), "Authorization": _basic()}
            answer = client.request(**arguments)
            case.validate_response(answer, checks=checks)

        run()
    (tmp_path / "cases").write_text(str(cases))
    assert cases >= len(client.get("/openapi.json").json()["paths"])
    print(f"{cases} cases")  # noqa: T201 - shown with -s


def _basic() -> str:
    import base64

    return "Basic " + base64.b64encode(f"{KEY}:".encode()).decode()
