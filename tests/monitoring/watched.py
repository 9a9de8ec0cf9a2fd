"""A Prometheus that scrapes one server, and what it says."""

import time
from pathlib import Path
from typing import Any, Self

import httpx
import yaml

from scripts.throwaway import free_ports
from tests.cluster.cluster import answers_ok
from tests.cluster.tied import Tied

EVERY = 0.5  # seconds between two scrapes
INTERVAL = "1m"  # what Grafana puts for $__rate_interval


class Watched:
    """`with Watched(…) as watched:` scrapes the port of 127.0.0.1 and evaluates the alerts until the block ends."""

    def __init__(self, programs: Path, directory: Path, port: int, rules: Path) -> None:
        self._programs = programs
        self._directory = directory
        self._port = port
        self._rules = rules

    def __enter__(self) -> Self:
        [port] = free_ports(1)
        every = f"{EVERY * 1000:g}ms"
        config = self._directory / "prometheus.yml"
        scrape = {"job_name": "any", "static_configs": [{"targets": [f"127.0.0.1:{self._port}"]}]}
        config.write_text(
            yaml.safe_dump(
                {
                    "global": {"scrape_interval": every, "scrape_timeout": every, "evaluation_interval": every},
                    "rule_files": [str(self._rules)],
                    "scrape_configs": [scrape],
                }
            )
        )
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30)
        self._program = Tied(
            [
                self._programs / "prometheus",
                f"--config.file={config}",
                f"--storage.tsdb.path={self._directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--log.level=warn",
            ],
            log=self._directory / "prometheus.log",
        )
        try:
            self._program.wait_ready(lambda: answers_ok(self._http, "/-/ready"), seconds=30)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()
        self._program.kill()

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now: a list of {metric, value}. ValueError, with what Prometheus says, when it is none."""
        data = self._get("/api/v1/query", query=expression)
        if data["resultType"] == "scalar":
            return [{"metric": {}, "value": data["result"]}]
        return list(data["result"])

    def selectors(self, expression: str) -> set[str]:
        """The series that an expression reads, as Prometheus' own parser finds them: name{label="value", …}."""
        found = set()

        def walk(node: object) -> None:
            if isinstance(node, list):
                for each in node:
                    walk(each)
            elif isinstance(node, dict):
                if node.get("type") in ("vectorSelector", "matrixSelector"):
                    matchers = ", ".join(f'{m["name"]}{m["type"]}"{m["value"]}"' for m in node["matchers"])
                    found.add(f"{{{matchers}}}")
                for each in node.values():
                    walk(each)

        walk(self._get("/api/v1/parse_query", query=expression))
        return found

    def rules(self) -> list[dict[str, Any]]:
        """The alerts, as they were evaluated last."""
        return [rule for group in self._get("/api/v1/rules")["groups"] for rule in group["rules"]]

    def noticed(self) -> frozenset[str]:
        """The alerts that fire, or would if it stayed so."""
        return frozenset(rule["name"] for rule in self.rules() if rule["state"] != "inactive")

    def scrapes(self) -> int:
        """How often it has scraped until now."""
        return round(sum(float(each["value"][1]) for each in self.query("count_over_time(up[1h])")))

    def wait_for_scrapes(self, count: int) -> None:
        """Return once it has scraped so many times more."""
        wanted, deadline = self.scrapes() + count, time.monotonic() + 30
        while self.scrapes() < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"not {count} scrapes within 30 s:\n{self._program.tail()}")
            time.sleep(0.1)

    def _get(self, path: str, **parameters: str) -> Any:
        body = self._http.get(path, params=parameters).json()
        if body["status"] != "success":
            raise ValueError(f"{parameters}: {body['error']}")
        return body["data"]
