"""How both HTTP services run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from afterclick.setting_sections import HttpSettings, LogSettings
    from afterclick.settings import Settings


def run_service(name: str, app: "FastAPI", service: "HttpSettings", settings: "Settings") -> None:
    """As `run_http`; Prometheus finds the service from now on until it is stopped, and sees it down after a crash."""
    import signal

    from afterclick.metrics_export import service_address

    # uvicorn hands a signal on after its last answer, and returns only from the one of ctrl-c.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with service_address(name, service, settings.metrics):
        run_http(app, service, settings.logs)


def run_http(app: "FastAPI", settings: "HttpSettings", logs: "LogSettings") -> None:
    """Serve until SIGTERM or SIGINT; open requests are answered first."""
    import uvicorn

    from afterclick.guarded_protocol import guarded_protocol
    from afterclick.logs import configure_logging

    configure_logging(logs)
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        http=guarded_protocol(settings.max_header_bytes, settings.header_timeout_seconds),
        ws="none",
        limit_concurrency=settings.max_connections,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
        access_log=False,
        log_config=None,  # its records go where ours go
        log_level="info",
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=10,
    )
