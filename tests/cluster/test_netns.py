import subprocess
import sys

ENTERED = """
import socket
from tests.cluster import netns
outside = socket.create_server(("127.0.0.1", 0))
port = outside.getsockname()[1]
netns.enter()
for address in ("127.0.0.1", "10.200.0.1", "10.200.0.77", "10.200.1.1", "192.0.2.1"):
    try:
        socket.create_connection((address, port), timeout=5)
    except OSError as error:
        print(address, error.strerror)
inside = socket.create_server(("10.200.0.77", 0))
print(socket.create_connection(inside.getsockname()).getpeername()[0])
"""


def test_nothing_outside_can_be_reached_and_every_address_inside_is_local() -> None:
    run = subprocess.run([sys.executable, "-c", ENTERED], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines() == [
        "127.0.0.1 Connection refused",
        "10.200.0.1 Connection refused",
        "10.200.0.77 Connection refused",
        "10.200.1.1 Network is unreachable",
        "192.0.2.1 Network is unreachable",
        "10.200.0.77",
    ]
