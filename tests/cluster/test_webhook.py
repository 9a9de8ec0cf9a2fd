import ssl
from pathlib import Path

import httpx
import pytest

from tests.cluster.tied import StartError
from tests.cluster.webhook import Webhook


def test_the_server_comes_back_where_it_was(tmp_path: Path) -> None:
    webhook = Webhook(tmp_path)
    trust = ssl.create_default_context(cadata=webhook.ca_pem.decode())

    def status() -> int:
        return httpx.get(f"{webhook.url}/rules", verify=trust, trust_env=False).status_code

    webhook.start()
    assert status() == httpx.codes.OK
    assert webhook.stop() == 0
    with pytest.raises(httpx.ConnectError):
        status()
    webhook.start()
    try:
        assert status() == httpx.codes.OK
    finally:
        webhook.kill()
    assert webhook.stop() is None


def test_settings_reach_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DPDK_WEBHOOK_MAX_CPU", "not for this server")
    with pytest.raises(StartError, match="huge_dir"):
        Webhook(tmp_path, settings={"huge_dir": "relative"}).start()
