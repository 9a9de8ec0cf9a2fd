"""A network of its own for this process and its children: loopback, 10.200.0.0/24, and no way out.

kube-apiserver refuses to take a loopback address for an endpoint of a Service. Here any other one is as local as loopback is.
"""

import ctypes
import fcntl
import os
import socket
import struct
import sys
from ipaddress import IPv4Network
from pathlib import Path

NETWORK = IPv4Network("10.200.0.0/24")

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP = 1


class NetworkError(Exception):
    """The kernel gives this process no network of its own; one line."""


def enter() -> None:
    """Leave the machine's network, for good. Call it before there is a second thread.

    Whoever is not root becomes root in a user namespace as well, which many a container forbids: NetworkError.
    """
    user, group = os.getuid(), os.getgid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET | (_CLONE_NEWUSER if user else 0)):
        reason = os.strerror(ctypes.get_errno())
        raise NetworkError(f"no network namespace: {reason}; run as root, or where unprivileged user namespaces are allowed")
    if user:
        for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path("/proc/self", name).write_text(content)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))
        # of a network on lo, unlike on any other device, every address is local at once
        fcntl.ioctl(control, _SIOCSIFADDR, _request(str(NETWORK[1])))
        fcntl.ioctl(control, _SIOCSIFNETMASK, _request(str(NETWORK.netmask)))


def _request(address: str) -> bytes:
    return struct.pack("16sHH4s8x", b"lo:1", socket.AF_INET, 0, socket.inet_aton(address))


def main() -> int:
    """`python -m tests.cluster.netns` says whether there is one to be had."""
    try:
        enter()
    except NetworkError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
