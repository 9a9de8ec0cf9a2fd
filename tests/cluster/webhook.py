"""The real server as a process of its own, with certificates made for it."""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import httpx

from scripts import throwaway
from tests.cluster.cluster import answers_ok
from tests.cluster.tied import Tied


class Webhook:
    """`python -m webhook serve` on 127.0.0.1; stopped and started again, it keeps its ports and certificates.

    `settings` are further settings of the server, named as in its configuration: {"default_memory": "1Gi"}.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, Any] | None = None) -> None:
        tls_port, health_port = throwaway.free_ports(2)
        files = throwaway.issue(directory)
        self.ca_pem = files.ca.read_bytes()
        self.url = f"https://127.0.0.1:{tls_port}"
        self.health_url = f"http://127.0.0.1:{health_port}"
        self.log = directory / "webhook.log"
        self._settings = variables(settings or {})
        self._own = throwaway.settings(files, tls_port, health_port)
        self._process: Tied | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and return when it is ready; raise StartError with the tail of its log."""
        self.stop()
        self._process = Tied([sys.executable, "-m", "webhook", "serve"], log=self.log, environment=self._environment())
        try:
            with httpx.Client(trust_env=False) as http:
                self._process.wait_ready(lambda: answers_ok(http, f"{self.health_url}/readyz"), seconds=30)
        except BaseException:
            self.stop()
            raise

    def use(self, settings: Mapping[str, Any]) -> None:
        """Start it anew with these settings, unless it has them already."""
        if variables(settings) != self._settings:
            self._settings = variables(settings)
            self.kill()  # nothing is in flight, and a stop waits until nobody would still be sent here
            self.start()

    def stop(self) -> int | None:
        """Send SIGTERM and wait for the drain; return the exit code, or None when it was not running."""
        process, self._process = self._process, None
        return process.stop(seconds=30) if process else None

    def kill(self) -> None:
        """End it at once, as a node that loses power would."""
        process, self._process = self._process, None
        if process:
            process.kill()

    def _environment(self) -> dict[str, str]:
        return inherited() | self._settings | self._own


def inherited() -> dict[str, str]:
    """This process' environment, without what whoever runs the tests has set for a server of his own."""
    return {key: value for key, value in os.environ.items() if not key.startswith("DPDK_WEBHOOK_")}


def variables(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings, named as in the configuration file, as the environment has them."""
    return {
        f"DPDK_WEBHOOK_{key.upper()}": json.dumps(value) if isinstance(value, dict) else str(value)
        for key, value in settings.items()
    }
