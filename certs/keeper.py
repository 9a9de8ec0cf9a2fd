"""The loop in every replica: serve what the Secret holds, say so, tell how things stand; in one of them, do the next step."""

import base64
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

from certs import rotate
from certs.cluster import CONFIGURATIONS, PREFIX, Cluster, ClusterError, Kind, Object, Reason
from certs.issue import Pair
from certs.lease import Election
from certs.loop import Loop, Report
from certs.rotate import Ack, Demand, Entry, Material, Seen, Settle, Step, Trust, Unusable, Wait, Write

DEMAND: Final = PREFIX + "rotate"  # annotation of the Secret: ca or leaf
SETTLED: Final = PREFIX + "settled"  # annotation of the Secret: a time
SERVING: Final = "serving." + PREFIX  # annotations of the Lease, one a replica: a leaf's fingerprint, and when it ends

FIGHT: Final = 30  # so many times something was put right in WITHIN seconds; from then on there is a BRAKE between two times
WITHIN, BRAKE = 10.0, 0.3  # seconds; who replaces both configurations every second is answered at once
STALE: Final = timedelta(seconds=5)  # for which a conclusion holds while nothing changes but the time
KINDS: Final[tuple[Kind, ...]] = ("Secret", "Lease", *CONFIGURATIONS)
_TIME: Final = "%Y-%m-%dT%H:%M:%SZ"

Objects: TypeAlias = Mapping[Kind, Object | None]

_log = logging.getLogger("dpdk-webhook")


@dataclass(frozen=True, slots=True)
class _Conclusion:
    """What was made of what there is, and until when it holds."""

    seen: Seen
    since: datetime
    until: datetime
    step: Step
    distrusted: Mapping[Entry, str]


class Keeper(Loop):
    """Mode `self`.

    `serve` puts a pair onto the listener and says whether it could, and `did` takes each step that was done.
    """

    def __init__(
        self,
        cluster: Cluster,
        me: str,
        *,
        serve: Callable[[Pair], bool],
        tell: Callable[[Report], object],
        failed: Callable[[Reason], object] = lambda _: None,
        did: Callable[[Step], object] = lambda _: None,
    ) -> None:
        super().__init__(cluster, KINDS, tell, failed)
        self._me, self._serve, self._did = me, serve, did
        self._name = cluster.names.dns
        self._election = Election(me)
        self._served: Material | None = None
        self._refused: Mapping[str, bytes] = {}
        self._conclusion: _Conclusion | None = None
        self._acknowledged = False
        self._mended: deque[float] = deque(maxlen=FIGHT)

    def _look(self) -> bool:
        if not self._knows():
            self._report(f"the API server has not said yet what there is: {self._error() or 'it was not asked long ago'}", None)
            return False
        objects = {kind: watched.found for kind, watched in self._watched.items()}
        self._swap(objects)
        try:
            self._acknowledge(objects["Lease"])
        finally:
            concluded = self._conclude(objects)
            self._report(self._problem(concluded), concluded)
        worked = self._leads(objects["Lease"]) and _is_work(concluded.step) and self._work()
        if worked and self._is_fought():
            self._complain("other", "somebody else writes again and again what is put right here; who, managedFields say")
            self._ending.wait(BRAKE)
        return worked

    def _is_fought(self) -> bool:
        """Whether more was put right lately than accidents explain. Two who undo each other's work never end by themselves."""
        return len(self._mended) == FIGHT and time.monotonic() - self._mended[0] < WITHIN

    def _swap(self, objects: Objects) -> None:
        """Serve what the Secret holds, once the API servers trust it, or don't trust what is served either."""
        now, seen = self._cluster.clock.now(), self._seen(objects)
        if not seen.data or seen.data == self._refused or (self._served and seen.data == self._served.data()):
            return
        try:
            found = Material.read(seen.data, name=self._name, now=now)
        except Unusable as error:
            self._refused = seen.data
            self._failed("invalid")
            _log.error("the Secret %s can't be used: %s", self._cluster.names.secret, error)
            return
        served, name = self._served, self._name
        if served and rotate.is_trusted(served, seen, name, now) and not rotate.is_trusted(found, seen, name, now):
            return
        if self._serve(found.leaf):  # if not, then perhaps a second later: the listener may have been busy
            self._served, self._refused = found, {}

    def _acknowledge(self, lease: Object | None) -> None:
        """Say what is served here, in the Lease."""
        if self._served is None or lease is None:
            return
        said = f"{self._served.fingerprint} {_text(self._served.until)}"
        if _annotations(lease).get(SERVING + self._me) != said:
            self._cluster.merge("Lease", {"metadata": {"annotations": {SERVING + self._me: said}}})
        self._acknowledged = True

    def _conclude(self, objects: Objects) -> _Conclusion:
        """It takes some signatures: not each time that somebody renews the Lease."""
        now, seen, last = self._cluster.clock.now(), self._seen(objects), self._conclusion
        if last is not None and last.seen == seen and last.since <= now < last.until:
            return last
        step = rotate.next_step(seen, name=self._name, now=now)
        until = now + STALE
        if isinstance(step, Wait) and step.until is not None:
            until = min(until, step.until)
        chain = self._served.leaf.certificate if self._served else b""
        reasons = {entry: rotate.distrust(chain, pem, name=self._name, now=now) for entry, pem in seen.bundles.items()}
        self._conclusion = _Conclusion(seen, now, until, step, {entry: why for entry, why in reasons.items() if why})
        return self._conclusion

    def _problem(self, concluded: _Conclusion) -> str:
        if self._served is None:
            return f"there is no certificate to serve yet: {concluded.step.why}"
        if self._served.until < self._cluster.clock.now():
            return f"the served certificate ended on {_text(self._served.until)}"
        for (_, entry), why in concluded.distrusted.items():
            return f"the caBundle of {entry} does not stand for the served certificate: {why}"
        return "" if self._acknowledged else "the Lease does not say yet what is served here"

    def _report(self, problem: str, concluded: _Conclusion | None) -> None:
        step = concluded.step if concluded else None
        self._tell(
            Report(
                problem,
                matches=not concluded.distrusted if concluded and concluded.seen.bundles else None,
                phase=step.phase if step else None,
                why=step.why if step else "",
                until=self._served.until if self._served else None,
                skew=self._cluster.clock.skew,
            )
        )

    def _leads(self, lease: Object | None) -> bool:
        if self._resigning.is_set():  # whoever uninstalls us has the Secret deleted, and it must not come back
            if self._election.holds():
                self._election.lost()
                self._cluster.merge("Lease", {"spec": {"holderIdentity": ""}})
            return False
        now = self._cluster.clock.now()
        bid = self._election.bid(lease, now)
        if bid is None:
            return self._election.holds()
        try:
            if lease is None:
                self._cluster.create("Lease", {"spec": bid})
            else:
                acks = _acks(lease)
                over = {SERVING + replica: None for replica in acks.keys() - rotate.serving(acks, now).keys()}
                head = {"resourceVersion": lease["metadata"]["resourceVersion"], "annotations": over}
                self._cluster.merge("Lease", {"metadata": head, "spec": bid})
        except ClusterError as error:
            if error.reason != "conflict":
                raise
            return self._election.holds()
        self._election.won()
        return True

    def _work(self) -> bool:
        """Do the next step, as it follows from what there is at this moment; False when there is none."""
        objects = {kind: self._cluster.read(kind) for kind in KINDS}
        step = rotate.next_step(self._seen(objects), name=self._name, now=self._cluster.clock.now())
        match step:
            case Write():
                marks = {SETTLED: _text(step.settled)} | ({DEMAND: None} if step.fulfils else {})
                self._write(objects["Secret"], step.material.data(), marks)
            case Settle():
                self._write(objects["Secret"], None, {SETTLED: _text(step.at)})
            case Trust():
                for kind in CONFIGURATIONS:
                    bundles = {name: pem for (of, name), pem in step.bundles.items() if of == kind}
                    if bundles and (found := objects[kind]):
                        self._cluster.trust(kind, found, bundles)
            case _:
                return False
        _log.info("certificates: %s: %s", step.phase, step.why)
        if step.phase in ("restoring", "trusting"):
            self._mended.append(time.monotonic())
        self._did(step)
        return True

    def _write(self, secret: Object | None, data: Mapping[str, bytes] | None, marks: Mapping[str, str | None]) -> None:
        """Write the Secret with these data, None as they are, and these annotations, None for one that goes."""
        content: dict[str, Any] = dict(secret or {"type": "Opaque"})
        if data is not None:
            others = {key: value for key, value in (content.get("data") or {}).items() if key not in rotate.KEYS}
            content["data"] = others | {key: base64.b64encode(value).decode() for key, value in data.items()}
        annotations = {**_annotations(content), **marks}
        kept = {key: value for key, value in annotations.items() if value is not None}
        content["metadata"] = content.get("metadata", {}) | {"annotations": kept}
        if secret is None:
            self._cluster.create("Secret", content)
        else:
            self._cluster.replace("Secret", content)

    def _leave(self) -> None:
        """Give up the Lease, and say that nothing is served here any more."""
        if not self._acknowledged:
            return
        patch: dict[str, Any] = {"metadata": {"annotations": {SERVING + self._me: None}}}
        try:
            self._cluster.merge("Lease", patch | ({"spec": {"holderIdentity": ""}} if self._election.holds() else {}))
        except ClusterError as error:
            _log.warning("the Lease still names this replica: %s", error)

    def _seen(self, objects: Objects) -> Seen:
        return seen(self._cluster, objects, self._served)


def seen(cluster: Cluster, objects: Objects, memory: Material | None = None) -> Seen:
    """What the objects say."""
    secret, lease = objects["Secret"], objects["Lease"]
    data = {key: base64.b64decode(value) for key, value in ((secret or {}).get("data") or {}).items() if key in rotate.KEYS}
    marks = _annotations(secret)
    demand: Demand = "ca" if marks.get(DEMAND) == "ca" else "leaf" if marks.get(DEMAND) == "leaf" else ""
    return Seen(
        data=None if secret is None else data,
        bundles=cluster.entries(objects),
        acks=_acks(lease),
        demand=demand,
        settled=_time(marks.get(SETTLED, "")),
        memory=memory,
    )


def _is_work(step: Step) -> bool:
    return isinstance(step, Write | Trust | Settle)


def _acks(lease: Object | None) -> dict[str, Ack]:
    found = {}
    for key, value in _annotations(lease).items():
        leaf, _, until = value.partition(" ")
        if key.startswith(SERVING) and (ends := _time(until)):
            found[key.removeprefix(SERVING)] = Ack(leaf, ends)
    return found


def _annotations(found: Object | None) -> dict[str, str]:
    return dict((found or {}).get("metadata", {}).get("annotations") or {})


def _text(time: datetime | None) -> str | None:
    return f"{time:{_TIME}}" if time else None


def _time(text: str) -> datetime | None:
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None
