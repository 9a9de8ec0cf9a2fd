"""An independent judge of the contract, written from its text alone; it imports nothing of what it judges."""

from tests.oracle.changes import unexpected_changes
from tests.oracle.pod import Site
from tests.oracle.promise import violations
from tests.oracle.qos import qos

__all__ = ["Site", "qos", "unexpected_changes", "violations"]
