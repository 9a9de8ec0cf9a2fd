"""python -m webhook: the command line, as `dpdk-webhook`."""

import sys

from webhook.cli import main

sys.exit(main())
