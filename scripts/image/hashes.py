"""Run by the Dockerfile: of pip's report keep the SHA-256 of each file that was installed from. For the SBOM.

The lock file can't tell: it names the files of every platform. From standard input to standard output, as JSON.
"""

import json
import re
import sys

hashes: dict[str, str] = {}
for installed in json.load(sys.stdin)["install"]:
    name = re.sub(r"[-_.]+", "-", installed["metadata"]["name"]).lower()
    digest = installed["download_info"]["archive_info"]["hashes"]["sha256"]
    hashes[f"{name}=={installed['metadata']['version']}"] = digest
json.dump(hashes, sys.stdout, indent=1, sort_keys=True)
