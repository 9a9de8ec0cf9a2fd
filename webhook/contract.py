"""The contract, row by row: what is done with which pod, and why.

`explain` prints the rows, docs/contract.md is made from them, and each has cases in tests/cases/<rule>/.
"""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Row:
    """One decision; `rule` is the rule that takes it, or `admission` where no rule is asked."""

    number: int
    rule: str
    given: str  # what the pod, or the request, says
    outcome: str  # kept, changed, refused; and what is warned of
    why: str


def _rows(rule: str, *rows: tuple[int, str, str, str]) -> list[Row]:
    return [Row(number, rule, given, outcome, why) for number, given, outcome, why in rows]


_ROWS = [
    *_rows(
        "opt_in",
        (1, "`dpdk` is absent, or anything but `true`", "kept; `check` and `/dry-run` warn of a near-miss such as `True`",
         "only an exact yes is a yes"),
        (2, "an update turns `dpdk: \"true\"` on", "refused", "the spec of a pod that exists can't be changed any more"),
        (3, "a static pod's mirror (`kubernetes.io/config.mirror`)", "kept, warned of",
         "the kubelet runs its own file, whatever the object says"),
    ),
    *_rows("windows", (4, "`spec.os.name: windows`", "refused", "there are no Linux capabilities and no hugetlbfs there")),
    *_rows(
        "host_users",
        (5, "`hostUsers: false`", "refused, unless `allow_user_namespaces` is set",
         "IPC_LOCK does not reach the host from a user namespace, and hugetlbfs in one needs Linux 6.9"),
    ),
    *_rows(
        "pod_resources",
        (6, "`spec.resources` with content", "refused", "the static CPU manager passes over pods with pod-level resources"),
        (7, "`spec.resources` that says nothing", "removed", "up to Kubernetes 1.36 it makes a fully resourced pod BestEffort"),
    ),
    *_rows(
        "resources",
        (8, "a DPDK container without cpu, or with 0", "`default_cpu`, up to the step, warned of; refused where it is empty",
         "0 counts as unset, and a polling core has to be asked for"),
        (9, "another container without cpu, or with 0", "`other_cpu`, and warned of",
         "the pod becomes Guaranteed without a core for each sidecar"),
        (10, "only a request, or only a limit", "both sides get it",
         "QoS compares them; the API copies limits to requests in pods, and not in templates or files"),
        (11, "a request below its limit", "the request becomes the limit", "never less than what was allowed"),
        (12, "a DPDK container with a fraction of a CPU", "up to a whole number, and to the step",
         "only whole numbers get exclusive CPUs"),
        (13, "another container with a fraction", "kept as limit; whole as row 12 with `whole_cpus: all` or `dpdk/whole-cpus`",
         "in the shared pool it is right; some sites want all of a pod on exclusive CPUs"),
        (14, "another container that ends up whole", "kept, warned of with the value that stays in the shared pool",
         "in a Guaranteed pod a whole number is pinned"),
        (15, "a request above its limit, of any resource", "refused", "the API refuses it as well"),
        (16, "`2`, `\"2000m\"`, `2.0`, `2e0`, `+2`", "kept where the numbers are equal", "quantities are numbers, not text"),
        (17, "cpu above `max_cpu`", "refused", "`2k` is two thousand CPUs"),
        (18, "an amount that is negative, unreadable or of a wrong type", "refused with its path",
         "nobody can know what was meant"),
        (19, "a DPDK container without memory, or with 0", "`default_memory` where it is set, and warned of; refused otherwise",
         "a guessed limit kills the application when it runs out"),
        (20, "another container without memory, or with 0", "`other_memory`, and warned of",
         "one gap makes the whole pod Burstable"),
        (21, "memory on one side, or unequal", "as rows 10 and 11", "QoS counts memory like cpu"),
    ),
    *_rows(
        "hugepages",
        (22, "a DPDK container without hugepages, or with 0",
         "the amount of `dpdk/hugepages-<size>` or `default_hugepages`; refused without one", "an amount can't be guessed"),
        (23, "hugepages on one side only", "both sides get it", "the API refuses a request without its limit"),
        (24, "a hugepages request that is not the limit", "refused", "the API refuses it as well"),
        (25, "an amount that is not whole pages", "refused, naming the next multiple", "the API refuses it as well"),
        (26, "`hugepages-1024Mi`, `-1G`, `-2MB`", "refused, naming the size as nodes write it",
         "where the API takes it at all, the pod stays Pending for ever"),
        (27, "64Ki, 16Mi, 32Mi, 512Mi, 16Gi", "kept", "arm64, ppc64 and s390x have them"),
        (28, "several page sizes in the pod", "a volume and a path for each size, the medium with its size; refused beyond 16",
         "plain `HugePages` hangs in FailedMount as soon as there are two"),
        (30, "a plain `HugePages` volume beside two sizes", "refused", "FailedMount for certain"),
        (31, "a volume of a size that nobody requests", "refused", "FailedMount for certain"),
        (32, "a fitting volume that is mounted read-write", "kept; `--huge-dir` names its path", "it is what DPDK needs"),
        (33, "a fitting volume that nobody mounts, one DPDK container", "mounted", "it was meant for this container"),
        (34, "two or more DPDK containers", "a volume for each; a shared one is kept, warned of",
         "their files have the same names, and EAL removes those that are not locked"),
        (35, "the volume's name is taken", "a number behind it, at most 63 characters", "names are unique DNS labels"),
        (36, "the mount path is taken, or lies above or below another", "refused", "one of the two would be hidden"),
        (37, "hugepages mounted `readOnly`", "refused", "EAL creates files there"),
        (38, "`subPath` or `subPathExpr` on the mount", "kept, warned of", "EAL's files land below the volume's root"),
        (39, "a configured path that is relative, `/`, or has a blank, `:`, `..` or a trailing `/`",
         "refused; in the settings at start", "EAL or the API can't take it, and nothing may leave the pod"),
        (40, "`sizeLimit` on a hugepage volume", "kept, warned of", "it does not size the mount: the container's limit does"),
    ),
    *_rows(
        "eal_env",
        (29, "several page sizes in one DPDK container", "`--huge-dir` names `dpdk/huge-size`, else the largest, and warned of",
         "one directory serves one size"),
        (41, "the variable is absent", "prepended with `--huge-dir=<path>`", "later variables may refer to it"),
        (42, "the variable without `--huge-dir`", "the option is added to its value", "the options of its author keep working"),
        (43, "the variable names a hugepage mount of this container", "kept, in either spelling", "it is right"),
        (44, "another `--huge-dir`, a `valueFrom`, or the variable twice", "refused",
         "from DPDK 25.11 on a second --huge-dir ends the application"),
        (45, "the name may come from `envFrom`", "as row 41, and warned of", "env wins over what can't be read here"),
        (46, "the command line holds `--huge-dir`, `--in-memory` or `--no-huge`",
         "not injected, warned of; refused when it points elsewhere than at a hugepage mount",
         "EAL takes the option once, and --no-huge leaves nothing for it to say"),
    ),
    *_rows(
        "ipc_lock",
        (47, "no securityContext, no capabilities, no `add`", "what is missing is made, and IPC_LOCK added",
         "DMA needs memory that stays where it is"),
        (48, "IPC_LOCK or ALL is added, in any case", "kept", "the runtime reads names in any case"),
        (49, "`CAP_IPC_LOCK`", "kept, IPC_LOCK added beside it, warned of", "containerd ignores the prefixed name"),
        (50, "`drop` holds IPC_LOCK, with or without `CAP_`", "refused", "drop beats add"),
        (51, "`drop: [ALL]`", "IPC_LOCK added", "a capability that is added by name survives it"),
        (52, "`privileged: true`", "kept, warned of", "it has every capability already"),
        (53, "not root, by container or pod", "IPC_LOCK added, and warned of",
         "the capability reaches the bounding set only; without fsGroup hugetlbfs belongs to root"),
        (54, "other containers' capabilities, mounts and variables", "kept", "least privilege"),
        (60, "the namespace enforces baseline or restricted, where that is known", "as before, and warned of",
         "Pod Security will refuse IPC_LOCK, which its author may never have written"),
    ),
    *_rows(
        "exec_probes",
        (55, "an exec probe or exec hook on a DPDK container", "kept, warned of", "it runs on the polling cores"),
    ),
    *_rows(
        "resources",
        (56, "a sidecar (`restartPolicy: Always`)", "another container, unless it is named as DPDK",
         "it lives as long as the pod"),
        (57, "a plain init container", "another container", "it counts for QoS, and is gone before DPDK starts"),
        (58, "runtimeClassName, overhead, gates, nodeName, hostNetwork, tolerations, devices, downward API", "kept",
         "they are none of ours"),
    ),
    *_rows(
        "admission",
        (59, "a pod that keeps the promise already", "allowed without a patch",
         "the API server calls again after other webhooks"),
        (61, "validating, after all other webhooks", "refused unless every rule is silent",
         "a later webhook may have undone it"),
        (62, "a review that is none: no request, wrong kind, no containers", "400 with the path; a DELETE is allowed",
         "the registration is wrong, which only a loud answer shows"),
        (64, "an update at /mutate", "allowed, never a patch", "the spec can't be changed"),
    ),
    *_rows(
        "options",
        (63, "an unknown or malformed `dpdk/…` annotation", "refused with its key, the near miss named",
         "a typo must not pass silently"),
    ),
]  # fmt: skip

ROWS: Final = tuple(sorted(_ROWS, key=lambda row: row.number))
