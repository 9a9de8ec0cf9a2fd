"""Become a command that sees directories of its own in some places, as a container does of its volumes.

`python mounted.py DIRECTORY=PLACE… -- COMMAND ARGUMENT…`, as root of whatever user namespace. Each place is a directory.
"""

import ctypes
import os
import sys

_CLONE_NEWNS, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x20000, 0x1000, 0x4000, 0x40000


def _become(volumes: list[str], command: list[str]) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    failed = libc.unshare(_CLONE_NEWNS) or libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    for volume in volumes:
        directory, _, place = volume.partition("=")
        failed = failed or libc.mount(directory.encode(), place.encode(), None, ctypes.c_ulong(_MS_BIND), None)
    if failed:
        sys.exit(f"no mounts of its own: {os.strerror(ctypes.get_errno())}")
    os.execvp(command[0], command)  # noqa: S606 - no shell is the point


if __name__ == "__main__":
    split = sys.argv.index("--")
    _become(sys.argv[1:split], sys.argv[split + 1 :])
