"""`python -m tests.cluster.issuers`: cert-manager itself issues and renews certificate and CA, while pods are created.

    helm       the chart, in mode cert-manager
    kustomize  deploy/overlays/cert-manager
    named      the same with a namePrefix, in another namespace, through components/cert-manager-names

In each round it is installed, the certificate is renewed, then the CA and after it the certificate again, and all is
uninstalled. Exit status 1 when a plain pod was refused, an annotated one was stored as it was, or failed after the first that
succeeded; when replicas don't serve what was renewed, or the configurations are not as they were applied; and when more or less
is left over than docs/install.md says.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import httpx

from tests.cluster import installers
from tests.cluster.away import mount
from tests.cluster.background import Background
from tests.cluster.binaries import BuildError, GoUnavailableError, cert_manager
from tests.cluster.certmanager import BY, CertManager, Charted, Overlaid, Site, key, serial, serials
from tests.cluster.cluster import Cluster
from tests.cluster.configured import MUTATING, Configured
from tests.cluster.installers import are_built, parser
from tests.cluster.kubelet import Kubelet
from tests.cluster.leftover import everything, left_over
from tests.cluster.lifecycle import AROUND, GONE, LEARNS, Span, wait_for_node
from tests.cluster.play import NOT_PLAYED, Figures, play, say
from tests.cluster.pods import REFRESHES
from tests.cluster.replicas import ROUTING
from tests.cluster.stream import Made, Stream
from tests.cluster.tied import until
from tests.deploy.crds import definitions

SERVED = REFRESHES + 5.0  # seconds from a renewed Secret to a replica that serves it: the kubelet's, and the webhook's own one
LOOK = 0.1
SLOW = 8.0  # seconds after which it issues even where no pod waits for that


class Onlooker(Background):
    """`with Onlooker(site, manager) as onlooker:` notes when (monotonic) each step of an install was first seen.

    cert-manager is paused until a pod waits for it, or SLOW is over.
    """

    def __init__(self, site: Site, manager: CertManager) -> None:
        super().__init__()
        self._site, self._manager = site, manager
        self.seen: dict[str, float] = {}
        self.waits: set[str] = set()

    def __enter__(self) -> Self:
        self._manager.pause()
        self._began = time.monotonic()
        return super().__enter__()

    def __exit__(self, *_: object) -> None:
        try:
            super().__exit__()
        finally:
            self._manager.go_on()
        self._look()

    def _run(self) -> None:
        while not self._end.wait(LOOK):
            with suppress(httpx.TransportError):
                self._look()

    def _look(self) -> None:
        secret, bundles, waits = self._site.secret("serving"), self._site.bundles(), self._site.waits()
        self.waits |= set(waits)
        if waits or time.monotonic() - self._began > SLOW:
            self._manager.go_on()
        told = {
            "waiting": bool(waits),
            "issued": bool(secret.get("tls.crt")),
            "injected": bool(bundles) and all(bundle and bundle == secret.get("ca.crt") for bundle in bundles),
            "ready": bool(self._site.ready()),
        }
        for name, holds in told.items():
            if holds:
                self.seen.setdefault(name, time.monotonic())


@dataclass(slots=True)
class Round:
    """What is known of one round; times are monotonic."""

    spans: list[Span] = field(default_factory=list)
    facts: Figures = field(default_factory=dict)

    @contextmanager
    def span(self, name: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        self.spans.append(Span(name, began, time.monotonic()))


def run(options: argparse.Namespace) -> Figures:
    """One cluster for all rounds."""
    mount()
    with (
        TemporaryDirectory(prefix="dpdk-webhook-") as temporary,
        Cluster(flags=[ROUTING], whole=True) as cluster,
        Kubelet(cluster, Path(temporary)) as kubelet,
        Configured(cluster) as configured,
        CertManager(cluster) as manager,
        cluster.namespace() as namespace,
    ):
        wait_for_node(cluster, kubelet)
        rounds: list[Figures] = []
        for by in options.by:
            installer = BY[by](cluster, Path(temporary), options.deploy)
            with Stream(cluster, namespace, rate=options.rate) as stream:
                played = Issued(manager, installer, configured, namespace).play(stream)
            rounds.append({"by": by, **played})
            say(str(rounds[-1]))
        return {"rate": options.rate, "rounds": rounds}


class Issued:
    """One round."""

    def __init__(self, manager: CertManager, installer: Charted | Overlaid, configured: Configured, namespace: str) -> None:
        self._manager, self._installer, self._configured, self._namespace = manager, installer, configured, namespace
        self._cluster = cluster = installer.cluster
        self._site = Site(cluster, installer.namespace, installer.name)
        self._round = Round()

    def play(self, stream: Stream) -> Figures:
        self._installer.prepare()
        before = everything(self._cluster, without={self._namespace})
        time.sleep(AROUND)
        called = time.monotonic()
        with self._round.span("install"), Onlooker(self._site, self._manager) as onlooker:
            self._installer.install()
        added = self._configured.since(called, "ADDED")[MUTATING].heard
        with self._round.span("installed"):
            time.sleep(AROUND)
            said = self._site.said()
        with self._round.span("leaf"):
            leaf = self._renewed()
        with self._round.span("ca"):
            authority = self._renewed_authority()
        entries = self._site.entries()
        with self._round.span("uninstall"):
            self._installer.uninstall()
        left = self._left(before)
        facts = {
            "seconds": {name: moment - called for name, moment in onlooker.seen.items()},
            "waits": sorted(onlooker.waits),
            "said": said,
            "leaf": leaf,
            "ca": authority,
            "left_over": left,
            # an injector that doesn't know them would write the entries without: then every pod would be sent to us
            "conditioned": all("matchConditions" in entry for entry in entries),
            "stays": list(self._installer.stays),
        }
        return {**facts, "creates": judged(stream.made(), self._round.spans, called, added)}

    def _renewed(self) -> Figures:
        """A new certificate, and after how many seconds each replica serves it."""
        self._site.renew("serving")
        began = time.monotonic()
        new = serial(self._site.secret("serving")["tls.crt"])

        def is_served() -> bool:
            served = self._site.served()
            return len(served) == installers.REPLICAS[0] and set(served) == {new}

        with suppress(TimeoutError):  # it is told as what is not served
            until(is_served, seconds=SERVED, waiting_for="the new certificate")
        took = time.monotonic() - began
        time.sleep(AROUND)
        return {"seconds": took, "served": is_served(), "trusted": self._trusted()}

    def _renewed_authority(self) -> Figures:
        """A new certificate of the CA, and then one of the leaf."""
        before = self._site.secret("ca")["tls.crt"]
        self._site.renew("ca")
        time.sleep(AROUND)
        after = self._site.secret("ca")["tls.crt"]
        facts: Figures = {"renewed": serial(after) != serial(before), "key_kept": key(after) == key(before)}
        facts["injected_at_once"] = self._trusted(after)
        return facts | self._renewed() | {"injected": self._trusted(after)}

    def _trusted(self, authority: bytes | None = None) -> bool:
        """Whether each caBundle holds the CA that the Secret tells, or this one; the injector leaves former ones in it."""
        wanted = self._site.secret("serving")["ca.crt"] if authority is None else authority
        bundles = self._site.bundles()
        return bool(bundles) and all(serial(wanted) in serials(bundle) for bundle in bundles)

    def _left(self, before: frozenset[Any]) -> list[str]:
        """What is left over, once that is what stays by right, or gets no less."""
        left: list[str] = []

        def is_expected() -> bool:
            left[:] = left_over(before, everything(self._cluster, without={self._namespace}))
            return left == sorted(self._installer.stays)

        with suppress(TimeoutError):
            until(is_expected, seconds=GONE, waiting_for="nothing more to be left")
        return left


def judged(creates: Sequence[Made], spans: Sequence[Span], called: float, added: float) -> Figures:
    """What became of the creates: `called` is when the install began, `added` when the mutating configuration was there."""
    creates = [create for create in creates if create.due >= called]
    leaving = next(span.began for span in spans if span.name == "uninstall")
    annotated = [create for create in creates if create.annotated]
    good = [create.ended for create in annotated if not create.problem and create.ended < leaving]
    first = min(good, default=leaving)
    failed = [create for create in annotated if create.refused and first < create.due and create.ended < leaving]
    passed = [create for create in annotated if create.unmutated and added + LEARNS < create.due and create.ended < leaving]
    plain = [create for create in creates if not create.annotated]
    return {
        "annotated": len(annotated),
        "plain": len(plain),
        "stored": sum(create.stored for create in creates),
        "first_good_seconds": first - called,
        "refused_before": sum(create.refused and create.due <= first for create in annotated),
        "failed": {span.name: sum(span.began <= create.due < span.ended for create in failed) for span in spans},
        "good": {span.name: sum(span.began <= moment < span.ended for moment in good) for span in spans},
        "unmutated": len(passed),
        "plain_refused": sum(create.refused for create in plain),
        "problems": dict(Counter(create.problem for create in [*failed, *passed, *plain] if create.problem)),
    }


def broken(figures: Figures) -> list[str]:
    """Every promise that these figures break, as sentences."""
    problems = [] if figures["rounds"] else ["nothing was played"]
    for each in figures["rounds"]:
        told = [*_of_creates(each["creates"]), *_of_certificates(each)]
        problems += [f"{each['by']}: {sentence}" for is_broken, sentence in told if is_broken]
    return problems


def _of_creates(creates: Figures) -> list[tuple[bool, str]]:
    failed = {name: number for name, number in creates["failed"].items() if number}
    idle = [name for name in ("installed", "leaf", "ca") if not creates["good"][name]]
    return [
        (bool(idle), f"no annotated create succeeded in {', '.join(idle)}"),
        (creates["plain"] == 0 or creates["stored"] == 0, "no plain pod was created, or none was stored"),
        (creates["plain_refused"] != 0, f"{creates['plain_refused']} plain pods were refused: {creates['problems']}"),
        (creates["unmutated"] != 0, f"{creates['unmutated']} annotated pods passed us by: {creates['problems']}"),
        (bool(failed), f"annotated creates failed after the first that succeeded: {failed}, {creates['problems']}"),
    ]


def _of_certificates(each: Figures) -> list[tuple[bool, str]]:
    leaf, authority = each["leaf"], each["ca"]
    more = sorted(set(each["left_over"]) - set(each["stays"]))
    less = sorted(set(each["stays"]) - set(each["left_over"]))
    return [
        (not any("secrets" in wait for wait in each["waits"]), f"no pod waited for the Secret: {each['waits']}"),
        (not each["conditioned"], "the injector took the match conditions out"),
        (not leaf["served"], f"the renewed certificate is not served after {leaf['seconds']:.0f} s"),
        (not leaf["trusted"], "the CA of the Secret is not in the caBundle"),
        (not authority["renewed"], "the CA was not renewed"),
        (not authority["key_kept"], "the renewed CA has another key"),
        (not authority["served"], f"the renewed CA's certificate is not served after {authority['seconds']:.0f} s"),
        (not authority["injected"], "the renewed CA is not in the caBundle"),
        (bool(more), f"left over: {', '.join(more)}"),
        (bool(less), f"not left over, as the docs say: {', '.join(less)}"),
    ]


def is_cert_manager_built() -> bool:
    """Build it, and fetch its custom resources, where they can be had: outside of a network of one's own."""
    try:
        cert_manager()
        definitions()
    except (GoUnavailableError, BuildError) as error:
        say(str(error))
        return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    ways = "how it is installed, one after the other (default: each)"
    options = parser("tests.cluster.issuers", __doc__, BY, nargs="+", default=list(BY), metavar="WAY", help=ways)
    return play(options, arguments, run, broken) if are_built() and is_cert_manager_built() else NOT_PLAYED


if __name__ == "__main__":
    sys.exit(main())
