"""Where others keep the certificate, a caBundle that is wrong is told and left alone."""

from collections.abc import Callable

from tests.cluster.play import Figures


def test_replicas_whose_certificate_others_keep_tell_what_is_wrong_and_touch_nothing(scenario: Callable[..., Figures]) -> None:
    figures = scenario("onlooking", "--stay", "1")
    assert figures["broken"] == []
    parts = figures["parts"]
    assert list(parts) == ["files, caBundle", "files, key", "cert-manager, caBundle", "no token"]
    assert parts["files, key"]["handshakes"] > 0
