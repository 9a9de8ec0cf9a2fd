"""options: the dpdk/… annotations are understood, and it is clear which containers run DPDK."""

from tests.minimal import ANNOTATIONS, APP, Case, asking, each, other_container, refused, stays

OPTED_IN = {"dpdk": "true"}

NOOP = [
    Case("no option", {}),
    Case("a container that is there", {f"{ANNOTATIONS}.dpdk/containers": "app"}),
    Case("a size that is asked for", {f"{ANNOTATIONS}.dpdk/huge-size": "2Mi"}),
    Case("the path that is mounted", {f"{ANNOTATIONS}.dpdk/huge-dir": "/dev/hugepages"}),
    Case("annotations of others", {f"{ANNOTATIONS}.dpdkish/huge-dir": "x y"}),
]


@each(NOOP)
def test_noop(case: Case) -> None:
    stays(case)


REJECTS = [
    Case(
        "row 63: a malformed option",
        {f"{ANNOTATIONS}.dpdk/huge-dir": "x y"},
        [
            "options: malformed option (metadata.annotations[dpdk/huge-dir]): "
            "'x y' is not an absolute path; write a path such as /dev/hugepages"
        ],
    ),
    Case(
        "row 63: an unknown option, with the one that was meant",
        {f"{ANNOTATIONS}.dpdk/hugepage-2Mi": "1Gi"},
        ["options: unknown option (metadata.annotations[dpdk/hugepage-2Mi]): did you mean dpdk/hugepages-2Mi?"],
    ),
    Case(
        "row 63: every one of them at once",
        {ANNOTATIONS: {**OPTED_IN, "dpdk/eal-env": "A B", "dpdk/whole-cpus": "yes"}},
        [
            "options: malformed option (metadata.annotations[dpdk/eal-env]): "
            "'A B' is not a name that a shell can read, such as DPDK_EAL_ARGS",
            "options: malformed option (metadata.annotations[dpdk/whole-cpus]): 'yes' is neither all nor dpdk",
        ],
    ),
    Case(
        "row 63: a misread amount is not called missing as well",
        {ANNOTATIONS: {**OPTED_IN, "dpdk/hugepages-2Mi": "lots"}, f"{APP}.resources": asking(cpu="2", memory="1Gi")},
        [
            "options: malformed option (metadata.annotations[dpdk/hugepages-2Mi]): "
            "'lots' is not a quantity; write an amount such as 2Gi"
        ],
    ),
    Case(
        "a container that is not there",
        {f"{ANNOTATIONS}.dpdk/containers": "fwd"},
        [
            "options: unknown container (metadata.annotations[dpdk/containers]): "
            "there is no container or sidecar 'fwd'; the pod has app"
        ],
    ),
    Case(
        "no container can be chosen",
        {f"{APP}.resources": asking(cpu="1500m", memory="1Gi"), "spec.containers.1": other_container()},
        [
            "options: unclear which container runs DPDK (metadata.annotations): "
            'none of app, log asks for hugepages; name one: dpdk/containers: "app"'
        ],
    ),
    Case(
        "a malformed list of containers is not called unclear as well",
        {
            f"{ANNOTATIONS}.dpdk/containers": "app,",
            f"{APP}.resources": asking(cpu="1500m", memory="1Gi"),
            "spec.containers.1": other_container(),
        },
        [
            "options: malformed option (metadata.annotations[dpdk/containers]): "
            "'app,' is not a list of container names, such as app,fwd"
        ],
    ),
]


@each(REJECTS)
def test_rejects(case: Case) -> None:
    refused(case)
