"""Where a value stands in a pod, as people and as RFC 6901 write it."""

import re
from functools import lru_cache
from typing import TypeAlias

Path: TypeAlias = tuple[str | int, ...]
"""Object keys and list indices from the pod's root: ("spec", "containers", 0, "resources")."""

_PLAIN = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)
_SHOWN = 80


def dotted(path: Path) -> str:
    """The path as Kubernetes' own messages write it: spec.containers[0].resources, metadata.annotations[dpdk/huge-dir]."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            text += f".{part}" if text else part
        else:
            text += f"[{shown(part)}]"
    return text


@lru_cache(maxsize=512)  # rules write to few places, and none of them has a name that a pod's author gave
def pointer(path: Path) -> str:
    """The path as a JSON Pointer (RFC 6901): /metadata/annotations/dpdk~1huge-dir."""
    parts = list(map(str, path))
    joined = "/".join(parts)
    if "~" in joined or joined.count("/") >= len(parts):
        joined = "/".join(part.replace("~", "~0").replace("/", "~1") for part in parts)
    return f"/{joined}" if parts else ""


def shown(text: str, limit: int = _SHOWN) -> str:
    """The text on one line, at most `limit` characters: the API server silently drops a warning with a control character."""
    if len(text) <= limit and text.isprintable():
        return text
    text = text[: limit + 1]  # first: whoever sends megabytes must not have them read again for every message
    line = text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return cut(line, limit)


def cut(line: str, limit: int) -> str:
    """At most `limit` characters of a text that stands on one line."""
    return line if len(line) <= limit else line[: limit - 1] + "…"
