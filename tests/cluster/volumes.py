"""What the kubelet of the tests mounts into a container: a token of the pod's own, ConfigMaps, Secrets, fields of the pod."""

import base64
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.cluster.cluster import ApiServer

MOUNTABLE = Path("/var/run")
# What a client meets of an API server that ends just then.
AWAY = (httpx.TransportError, json.JSONDecodeError)


class MountError(Exception):
    """A volume that can't be given to a pod now; one line."""


class ApiError(Exception):
    """The API server said no; one line."""


def ask(server: ApiServer, method: str, path: str, body: object = None) -> dict[str, Any]:
    """The answer of the API server. Raises ApiError, and what AWAY names."""
    kind = "application/strategic-merge-patch+json" if method == "PATCH" else "application/json"
    answer = server.api(method, path, body, content_type=kind)
    if answer.status >= httpx.codes.BAD_REQUEST:
        raise ApiError(f"{method} {path}: {answer.status} {answer.body.get('message')}")
    return answer.body


class Volumes:
    """Those of a pod's only container, in `directory`. `field` gives what a fieldPath names."""

    def __init__(self, server: ApiServer, pod: Mapping[str, Any], directory: Path, field: Callable[[str], str]) -> None:
        self._server, self._pod, self._directory, self._field = server, pod, directory, field

    def write(self) -> list[str]:
        """Write them, each file whole at once; return what is mounted where, as mounted.py takes it.

        Raises MountError, ApiError, and what AWAY names.
        """
        volumes = {volume["name"]: volume for volume in self._pod["spec"].get("volumes", [])}
        mounts = []
        for mount in self._pod["spec"]["containers"][0].get("volumeMounts", []):
            place, directory = Path(mount["mountPath"]), self._directory / mount["name"]
            if not place.is_relative_to(MOUNTABLE):
                raise MountError(f"{place} is not beneath {MOUNTABLE}")
            place.mkdir(parents=True, exist_ok=True)
            directory.mkdir(parents=True, exist_ok=True)
            for name, content in self._files(volumes[mount["name"]]).items():
                beside = directory / f"..{name}"
                beside.write_bytes(content)
                beside.replace(directory / name)
            mounts.append(f"{directory}={place}")
        return mounts

    def _files(self, volume: Mapping[str, Any]) -> dict[str, bytes]:
        files: dict[str, bytes] = {}
        for source in volume.get("projected", {}).get("sources", [volume]):
            match source:
                case {"serviceAccountToken": written}:
                    files[written["path"]] = self._token(written)
                case {"configMap": written}:
                    files |= {key: value.encode() for key, value in self._data("configmaps", written["name"], written).items()}
                case {"secret": written}:
                    found = self._data("secrets", written.get("secretName") or written["name"], written)
                    files |= {key: base64.b64decode(value) for key, value in found.items()}
                case {"downwardAPI": written}:
                    files |= {item["path"]: self._field(item["fieldRef"]["fieldPath"]).encode() for item in written["items"]}
                case {"emptyDir": _}:
                    pass
                case _:
                    raise MountError(f"the kubelet of the tests knows no volume such as {json.dumps(source)}")
        return files

    def _token(self, written: Mapping[str, Any]) -> bytes:
        metadata = self._pod["metadata"]
        account = self._pod["spec"]["serviceAccountName"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/serviceaccounts/{account}/token"
        bound = {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]}
        spec: dict[str, Any] = {"expirationSeconds": written["expirationSeconds"], "boundObjectRef": bound}
        token: str = ask(self._server, "POST", path, {"spec": spec})["status"]["token"]
        return token.encode()

    def _data(self, resource: str, name: str, written: Mapping[str, Any]) -> dict[str, str]:
        path = f"/api/v1/namespaces/{self._pod['metadata']['namespace']}/{resource}/{name}"
        data: dict[str, str] = ask(self._server, "GET", path).get("data") or {}
        items: Sequence[Mapping[str, str]] = written.get("items") or [{"key": key, "path": key} for key in data]
        return {item["path"]: data[item["key"]] for item in items if item["key"] in data}
