"""Both services speak TLS, and nothing else, when they have a certificate."""

import ssl
from pathlib import Path

import httpx
import pytest

from afterclick.settings import Settings
from collector_process import KEY, HttpService


@pytest.mark.parametrize("name", ["collector", "serving"])
def test_service_with_a_certificate_speaks_tls_only(name: str, live: Settings, certificate: Path) -> None:
    variables = {
        f"AFTERCLICK_{name.upper()}__TLS_CERTIFICATE": str(certificate / "certificate.pem"),
        f"AFTERCLICK_{name.upper()}__TLS_KEY": str(certificate / "key.pem"),
    }
    trusting = ssl.create_default_context(cafile=certificate / "authority.pem")
    service = HttpService(live, variables, name=name)
    try:
        with httpx.Client(base_url=service.url, verify=trusting) as client:
            assert client.get("/health/live").status_code == 200
            if name == "collector":
                assert client.post("/v1/batch", json={"batch": []}, auth=(KEY, "")).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{service.port}/health/live")
    finally:
        service.stop()
