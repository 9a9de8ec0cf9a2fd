"""Bodies damaged as an attacker, a bug or another webhook would: in what the JSON says, or in its bytes."""

from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import orjson

_LARGEST: Final = 1 << 17  # bytes; what is larger is the corpus' own business, not the mutations'
_MARK: Final = "\x01raw\x01"
_WRITTEN: Final = orjson.dumps(_MARK)

# as they are written, since half of them are not what a JSON writer writes
_VALUES: Final = (
    *rb"""null true false 0 -0 -0.0 -1 1.5 2 1e400 -1e999999999 1e-999999999 NaN 18446744073709551616 [] [null] [[]] [0] [""]
        [{}] {} {"":null} {"a":1,"a":[]} {"__proto__":{"cpu":2}} "" "\u0020" "true" "2" "1500m" "1e41" "-1Gi" "hugepages-2Mi"
        "IPC_LOCK" "Always" "HugePages" "HugePages-1Gi" "/dev/hugepages/" "--huge-dir=/dev/hugepages\u0020--huge-dir"
        "$(DPDK_EAL_ARGS)" "\ud800" "\u0000" "\n" "a/b~c~0~1" """.split(),
    *(b"9" * 400, b'"\xed\xa0\x80"', b'"\xff"', b'"\xe2\x80\xae"'),
)
_KEYS: Final = (
    *(
        "",
        " ",
        "~",
        "/",
        "~1",
        "a/b",
        "__proto__",
        "constructor",
        "__class__",
        "spec",
        "name",
        "metadata",
        "annotations",
        "dpdk",
    ),
    *(
        "dpdk/",
        "dpdk/containers",
        "dpdk/huge-dir",
        "dpdk/huge-size",
        "dpdk/hugepages-1Gi",
        "hugepages-2Mi",
        "hugepages-",
        "cpu",
    ),
    *("resources", "requests", "limits", "env", "volumeMounts", "securityContext", "capabilities", "add", "drop", "emptyDir"),
)
_Place = tuple[Any, Any]  # an object or a list, and the key or index of one of its values


def damaged(body: bytes, random: Random) -> bytes:
    """The body with one to three things wrong with it."""
    for _ in range(random.choice((1, 1, 2, 3))):
        body = _in_json(body, random) if random.random() < 0.9 else _in_bytes(body, random)
    return body


def _in_json(body: bytes, random: Random) -> bytes:
    try:
        document = orjson.loads(body[:_LARGEST])
    except orjson.JSONDecodeError:
        return _in_bytes(body, random)
    places = list(_places(document))
    if random.random() < 0.8:  # what is around the pod is checked first, and little of it
        places = list(_places(_pod(document))) or places
    if not places:
        return random.choice(_VALUES)
    random.choice(_WAYS)(places, random)
    return orjson.dumps(document).replace(_WRITTEN, random.choice(_VALUES))


def _pod(document: Any) -> Any:
    request = document.get("request") if isinstance(document, dict) else None
    return request.get("object") if isinstance(request, dict) else None


def _places(value: Any) -> Iterator[_Place]:
    waiting = [value]
    while waiting:
        here = waiting.pop()
        inner = here.items() if isinstance(here, dict) else enumerate(here) if isinstance(here, list) else ()
        for key, below in inner:
            yield here, key
            waiting.append(below)


def _replace(places: list[_Place], random: Random) -> None:
    parent, key = random.choice(places)
    parent[key] = _MARK


def _remove(places: list[_Place], random: Random) -> None:
    parent, key = random.choice(places)
    del parent[key]


def _rename(places: list[_Place], random: Random) -> None:
    objects = [place for place in places if isinstance(place[0], dict)]
    if objects:
        parent, key = random.choice(objects)
        parent[random.choice(_KEYS)] = parent.pop(key)


def _add(places: list[_Place], random: Random) -> None:
    parent, _ = random.choice(places)
    if isinstance(parent, dict):
        parent[random.choice(_KEYS)] = _MARK
    else:
        parent.insert(random.randint(0, len(parent)), _MARK)


def _move(places: list[_Place], random: Random) -> None:
    """A value that stands elsewhere as well, by way of JSON, lest it hold itself."""
    (source, from_key), (target, to_key) = random.choice(places), random.choice(places)
    target[to_key] = orjson.loads(orjson.dumps(source[from_key]))


def _wrap(places: list[_Place], random: Random) -> None:
    parent, key = random.choice(places)
    parent[key] = [parent[key]] if random.random() < 0.5 else {random.choice(_KEYS): parent[key]}


def _repeat(places: list[_Place], random: Random) -> None:
    lists = [parent for parent, _ in places if isinstance(parent, list)]
    if lists:
        target = random.choice(lists)
        target *= random.choice((2, 3, 40))


_WAYS: Final[tuple[Callable[[list[_Place], Random], None], ...]] = (
    _replace,
    _replace,
    _remove,
    _rename,
    _add,
    _move,
    _wrap,
    _repeat,
)


def _in_bytes(body: bytes, random: Random) -> bytes:
    start = random.randint(0, len(body))
    end = min(len(body), start + random.choice((1, 2, 8, 100)))
    there = random.choice(
        (b"", bytes([random.randrange(256)]), random.choice(_VALUES), body[start:end] * 2, b'"', b"\\", b"{", b"]")
    )
    cut = body[: random.choice((len(body), len(body), start))]
    return cut[:start] + there + cut[end:]
