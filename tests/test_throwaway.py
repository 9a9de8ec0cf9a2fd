"""The ports that a server is started on are still free when it is."""

import random

import pytest

from scripts.throwaway import free_ports, listener


def test_ports_are_different_and_nobody_listens_there() -> None:
    ports = free_ports(50)
    assert len(set(ports)) == 50
    for port in ports:
        listener(port).close()


def test_a_port_that_is_taken_or_found_already_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = free_ports(2)
    with listener() as taken:
        asked = iter([taken.getsockname()[1], first, first, second])
        monkeypatch.setattr(random, "randrange", lambda *_: next(asked))
        assert free_ports(2) == [first, second]


def test_no_outgoing_connection_has_such_a_port() -> None:
    ports = free_ports(50)
    with listener() as anything:  # any port will do: as for an outgoing connection
        assert max(ports) < anything.getsockname()[1]
