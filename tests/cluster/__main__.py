"""`make cluster`: a kube-apiserver with the webhook registered, left running until Ctrl-C."""

import signal
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.cluster.binaries import AssetsError, BuildError, GoUnavailableError
from tests.cluster.cluster import Cluster
from tests.cluster.tied import StartError
from tests.cluster.webhook import Webhook


def main() -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # cleans up as Ctrl-C does
    try:
        with (
            Cluster() as cluster,
            TemporaryDirectory(prefix="dpdk-webhook-") as directory,
            Webhook(Path(directory)) as webhook,
        ):
            cluster.register(webhook.url, webhook.ca_pem)
            kubectl = cluster.programs / "kubectl"
            print(f"kube-apiserver with the webhook registered; the webhook's log is {webhook.log}")
            print("In another terminal:\n")
            print(f"  export KUBECONFIG={cluster.kubeconfig}")
            print(f"  {kubectl} create --dry-run=server -o yaml -f examples/testpmd.yaml\n")
            print("Ctrl-C ends it.", flush=True)
            try:
                signal.pause()
            finally:
                webhook.kill()  # a drain is for a cluster that goes on
    except KeyboardInterrupt:
        print("\nended")
    except (GoUnavailableError, AssetsError, BuildError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
