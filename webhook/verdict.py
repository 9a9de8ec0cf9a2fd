"""What became of a review, for those who count and log it: no pod is in here."""

from typing import Literal, TypeAlias

from msgspec import Struct
from msgspec.structs import force_setattr

Outcome: TypeAlias = Literal["changed", "unchanged", "refused", "ignored"]
Counts: TypeAlias = tuple[tuple[str, int], ...]  # (rule, how many), in the order in which the rules were asked


class Asked(Struct, frozen=True):
    """Who asked for what; a string that the review does not have is empty."""

    uid: str
    operation: str
    namespace: str
    name: str  # or generateName
    dry_run: bool
    user: str


class Verdict(Struct, frozen=True):
    """How a review was answered. `ignored`: it made no promise, or there was nothing to judge."""

    outcome: Outcome
    operations: int = 0  # of the patch
    edits: Counts = ()
    rejections: Counts = ()
    warnings: Counts = ()
    rules: tuple[str, ...] = ()  # every rule that said something

    def __post_init__(self) -> None:
        said = dict.fromkeys([rule for rule, _ in self.edits + self.rejections + self.warnings])
        force_setattr(self, "rules", tuple(said))

    @property
    def allowed(self) -> bool:
        """Nothing stood against it."""
        return self.outcome != "refused"
