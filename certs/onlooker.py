"""The loop of the modes in which others keep the certificate: read the caBundle back, and tell whether it fits."""

from collections.abc import Callable

from certs.cluster import CONFIGURATIONS, Cluster, Reason
from certs.loop import Loop, Report


class Onlooker(Loop):
    """The other modes: nothing is written, and nothing but the configurations is read.

    `distrust` says why whoever trusts a caBundle refuses what is served, "" when he doesn't.
    """

    def __init__(
        self,
        cluster: Cluster,
        *,
        distrust: Callable[[bytes], str],
        tell: Callable[[Report], object],
        failed: Callable[[Reason], object] = lambda _: None,
    ) -> None:
        super().__init__(cluster, CONFIGURATIONS, tell, failed)
        self._distrust = distrust

    def _look(self) -> bool:
        # no right to read it is no reason to turn work away: without a token nobody would look either
        problem, matches = "", None
        if self._knows():
            bundles = self._cluster.entries({kind: watched.found for kind, watched in self._watched.items()})
            whys = {pem: self._distrust(pem) for pem in set(bundles.values())}
            wrong = [
                f"the caBundle of {entry} does not stand for the served certificate: {whys[pem]}"
                for (_, entry), pem in bundles.items()
                if whys[pem]
            ]
            problem, matches = wrong[0] if wrong else "", not wrong if bundles else None
        self._tell(Report(problem, matches, skew=self._cluster.clock.skew))
        return False
