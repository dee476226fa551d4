"""A real collector or API as a child process."""

import time

from afterclick.local import services
from afterclick.local.processes import free_port, is_listening
from afterclick.settings import Settings

KEY = "test-write-key"
_COMMANDS = {"collector": "collector", "serving": "serve"}


class HttpService:
    """A process that can be restarted on its port; `name` is its section of the settings."""

    def __init__(self, live: Settings, variables: dict[str, str], *, name: str = "collector") -> None:
        self.port = free_port()
        self._name = name
        self._live = live
        scheme = "https" if f"AFTERCLICK_{name.upper()}__TLS_KEY" in variables else "http"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._variables = {
            f"AFTERCLICK_{name.upper()}__PORT": str(self.port),
            "AFTERCLICK_COLLECTOR__WRITE_KEYS": f"[{KEY}]",
            "AFTERCLICK_KAFKA__BOOTSTRAP_SERVERS": live.kafka.bootstrap_servers,
            "AFTERCLICK_KAFKA__EVENTS_TOPIC": live.kafka.events_topic,
            "AFTERCLICK_REDIS__URL": live.redis.url.get_secret_value(),
            "AFTERCLICK_PRIVACY__PSEUDONYM_KEY": live.privacy.pseudonym_key.get_secret_value(),
            **variables,
        }
        self.start()

    def start(self) -> None:
        self._service = services.start_service(
            self._name, ["-m", "afterclick.cli", _COMMANDS[self._name]], self._live, variables=self._variables
        )
        deadline = time.monotonic() + 60
        while not is_listening(self.port):
            self._service.check()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    @property
    def pid(self) -> int:
        return self._service.process.pid

    def stop(self) -> None:
        services.stop_service(self._service)
