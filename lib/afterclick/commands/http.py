"""How both HTTP services run."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fastapi import FastAPI

    from afterclick.setting_sections import HttpSettings


def run_http(app: "FastAPI", settings: "HttpSettings") -> None:
    """Serve until SIGTERM or SIGINT; open requests are answered first."""
    import logging

    import uvicorn

    from afterclick.guarded_protocol import guarded_protocol

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
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
        log_level="info",
        timeout_graceful_shutdown=10,
    )
