"""The rules: the one place that knows the set and the order in which their findings are shown."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Final, TypeAlias

from webhook.edits import Edit
from webhook.pod import Pod
from webhook.rules import (
    eal_env,
    exec_probes,
    host_users,
    hugepages,
    ipc_lock,
    opt_in,
    options,
    pod_resources,
    resources,
    windows,
)
from webhook.settings import Settings

Propose: TypeAlias = Callable[[Pod, Settings], Iterator[Edit]]
CARD: Final = ("Reads", "Writes", "Rejects when", "Why")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule: `id` is its file's name, and the word for it in every message; `card` is its file's docstring."""

    id: str
    propose: Propose
    card: str

    @property
    def promise(self) -> str:
        """The card's first line: what is true of a pod that this rule is silent about."""
        return self.card.partition("\n")[0]

    def part(self, name: str) -> str:
        """One part of the card (Reads, Writes, Rejects when, Why) on one line; empty when it is missing."""
        found: list[str] = []
        for line in self.card.splitlines()[1:]:
            head, colon, rest = line.partition(":")
            if colon and head in CARD:
                taking = head == name
                found += [rest.strip()] if taking else []
            elif found and taking:
                found.append(line.strip())
        return " ".join(found).strip()


def _rule(module: ModuleType) -> Rule:
    propose: Propose = module.propose
    return Rule(module.__name__.rpartition(".")[2], propose, (module.__doc__ or "").strip())


OPT_IN: Final = _rule(opt_in)
RULES: Final = tuple(
    _rule(module)
    for module in (options, windows, host_users, pod_resources, exec_probes, resources, hugepages, ipc_lock, eal_env)
)
