"""Rotations played through: replicas that know late, die and act at once, API servers that know later still.

A caBundle that was replaced less than MARGIN ago is what some API server still goes by: each of them has to stand for what each
replica serves. So these are not two API servers, but all that there could be.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Generic, TypeVar

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from certs.issue import issue_ca, issue_leaf
from certs.pem import certificates
from certs.rotate import (
    CA_CRT,
    MARGIN,
    OLD_CA_CRT,
    TLS_CRT,
    Ack,
    Demand,
    Entry,
    Material,
    Seen,
    Settle,
    Step,
    Trust,
    Unusable,
    Wait,
    Write,
    distrust,
    is_trusted,
    next_step,
)

NAME = "dpdk-webhook.dpdk-webhook-system.svc"
START = datetime(2030, 1, 31, 12, tzinfo=UTC)
LAG = timedelta(seconds=4)  # behind which no replica is that runs
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)
ENTRIES: Mapping[str, tuple[Entry, ...]] = {
    "Mutating": (("Mutating", "pods"),),
    "Validating": (("Validating", "pods"), ("Validating", "updates")),
}
KINDS = tuple(ENTRIES)
STEPS = 40

T = TypeVar("T")
Bundles = Mapping[Entry, bytes]


@dataclass(frozen=True, slots=True)
class Secret:
    """What is stored; no data: it was deleted."""

    data: Mapping[str, bytes] | None = None
    demand: Demand = ""
    settled: datetime | None = None


class Stored(Generic[T]):
    """An object in all its versions; the API server refuses a write by somebody who has not seen the last one."""

    def __init__(self, first: T) -> None:
        self.versions = [(START - MARGIN, first)]

    @property
    def last(self) -> int:
        return len(self.versions) - 1

    @property
    def now(self) -> T:
        return self.versions[-1][1]

    def write(self, content: T, now: datetime, *, read: int | None = None) -> bool:
        if read not in (None, self.last):
            return False
        self.versions.append((now, content))
        return True

    def oldest(self, now: datetime, lag: timedelta) -> int:
        """The oldest version that somebody who is behind by `lag` at the most may take for the last one."""
        return next(i for i in range(len(self.versions)) if i == self.last or self.versions[i + 1][0] > now - lag)

    def believed(self, now: datetime, lag: timedelta) -> Iterator[T]:
        return (content for _, content in self.versions[self.oldest(now, lag) :])


@dataclass(slots=True)
class Replica:
    """A process: what it has seen of each object, and what it serves."""

    name: str
    runs: bool = True
    cut_off: bool = False  # from the API server; others still reach it
    ready: bool = False  # it is called once it has said what it serves
    read: dict[str, int] = field(default_factory=dict)  # the version by object
    served: Material | None = None
    decided: tuple[Step, Mapping[str, int]] | None = None  # and has not done yet; by what it had read


class World:
    def __init__(self) -> None:
        self.now = START
        self.secret: Stored[Secret] = Stored(Secret())
        self.lease: Stored[Mapping[str, Ack]] = Stored({})
        self.configurations: dict[str, Stored[Bundles]] = {kind: Stored(dict.fromkeys(ENTRIES[kind], b"")) for kind in KINDS}
        self.replicas = [Replica(name) for name in ("r0", "r1", "r2")]
        for replica in self.replicas:
            self.start(replica)

    def objects(self) -> dict[str, Stored[Secret] | Stored[Mapping[str, Ack]] | Stored[Bundles]]:
        return {"Secret": self.secret, "Lease": self.lease, **self.configurations}

    def start(self, replica: Replica) -> None:
        replica.runs, replica.ready, replica.served, replica.decided = True, False, None, None
        replica.read = {name: stored.oldest(self.now, LAG) for name, stored in self.objects().items()}

    def look(self, replica: Replica, *, fresh: bool) -> None:
        """Learn what can't be missed any more, or everything."""
        for name, stored in self.objects().items():
            replica.read[name] = max(replica.read[name], stored.last if fresh else stored.oldest(self.now, LAG))

    def swap(self, replica: Replica) -> None:
        seen = self.seen(replica)
        if seen.data is None or (replica.served and seen.data == replica.served.data()):
            return
        try:
            found = Material.read(seen.data, name=NAME, now=self.now)
        except Unusable:
            return
        if replica.served and self.trusts(seen, replica.served) and not self.trusts(seen, found):
            return
        replica.served = found

    def acknowledge(self, replica: Replica) -> None:
        if replica.served:
            ack = Ack(replica.served.fingerprint, replica.served.until)
            if self.lease.now.get(replica.name) != ack:
                self.lease.write({**self.lease.now, replica.name: ack}, self.now)
            replica.ready = True

    def trusts(self, seen: Seen, material: Material) -> bool:
        return is_trusted(material, seen, NAME, self.now)

    def seen(self, replica: Replica) -> Seen:
        secret = self.secret.versions[replica.read["Secret"]][1]
        acks = self.lease.versions[replica.read["Lease"]][1]
        bundles: dict[Entry, bytes] = {}
        for kind, stored in self.configurations.items():
            bundles |= stored.versions[replica.read[kind]][1]
        return Seen(secret.data, bundles, acks, secret.demand, secret.settled, replica.served)

    def decide(self, replica: Replica) -> Step:
        step = next_step(self.seen(replica), name=NAME, now=self.now)
        replica.decided = step, dict(replica.read)
        return step

    def act(self, replica: Replica, writes: int = len(KINDS)) -> None:
        """Do what was decided: so many writes of it."""
        assert replica.decided is not None
        (step, read), replica.decided = replica.decided, None
        secret = self.secret.versions[read["Secret"]][1]
        match step:
            case Write():
                demand: Demand = "" if step.fulfils else secret.demand
                self.secret.write(Secret(step.material.data(), demand, step.settled), self.now, read=read["Secret"])
            case Settle():
                self.secret.write(replace(secret, settled=step.at), self.now, read=read["Secret"])
            case Trust():
                for kind in KINDS[:writes]:
                    told = {entry: pem for entry, pem in step.bundles.items() if entry in ENTRIES[kind]}
                    stored = self.configurations[kind]
                    if told:
                        stored.write({**stored.versions[read[kind]][1], **told}, self.now, read=read[kind])

    def live(self, replica: Replica) -> None:
        self.look(replica, fresh=False)
        self.swap(replica)
        self.acknowledge(replica)

    def pass_time(self, time: timedelta) -> None:
        """Every replica that runs lives on meanwhile, and none acts."""
        for part in (min(time, LAG), time - min(time, LAG)):
            self.now += part
            for replica in self.running():
                self.live(replica)

    def running(self) -> list[Replica]:
        """Those that reach the API server."""
        return [replica for replica in self.replicas if replica.runs and not replica.cut_off]

    def gather(self) -> None:
        """Everybody runs, and reaches the API server."""
        for replica in self.replicas:
            replica.cut_off = False
            if replica.runs:
                self.live(replica)
            else:
                self.start(replica)

    def failing(self) -> list[str]:
        """Calls of a replica that fail, at some API server, for some reason."""
        believed = {
            pem
            for stored in self.configurations.values()
            for bundles in stored.believed(self.now, MARGIN)
            for pem in bundles.values()
        }
        called = (replica for replica in self.replicas if replica.runs and replica.ready)
        # nothing helps who was cut off until its leaf ended
        served = {
            replica.served.leaf.certificate
            for replica in called
            if replica.served and not (replica.cut_off and replica.served.until < self.now)
        }
        # and what a replica would serve that starts now
        served.add((self.secret.now.data or {}).get(TLS_CRT, b""))
        reasons = (distrust(chain, pem, name=NAME, now=self.now) for chain in served for pem in believed)
        return [reason for reason in reasons if reason]

    def recover(self) -> None:
        """From whatever there is: one replica after the other does the next step, until there is none."""
        self.gather()
        begin = self.now
        taken = []
        for turn in range(STEPS):
            for replica in self.running():
                self.look(replica, fresh=True)
                self.live(replica)
                self.look(replica, fresh=True)
            leader = self.replicas[turn % len(self.replicas)]
            self.look(leader, fresh=True)
            step = self.decide(leader)
            taken.append(f"{type(step).__name__} {step.phase}: {step.why}")
            if type(step) is Step:
                break
            self.act(leader)
            rest = step.until - self.now if isinstance(step, Wait) and step.until else SECOND
            self.pass_time(max(rest, SECOND))
        assert taken[-1] == "Step stable: one CA, trusted everywhere", taken
        assert self.now - begin <= 2 * MARGIN + STEPS * SECOND, taken
        self.pass_time(MARGIN)
        assert self.failing() == [], taken
        data = self.secret.now.data or {}
        assert OLD_CA_CRT not in data
        assert {pem for stored in self.configurations.values() for pem in stored.now.values()} == {data[CA_CRT]}
        assert len(certificates(data[TLS_CRT])) == len(certificates(data[CA_CRT])) == 1
        assert {replica.served.data() == data for replica in self.replicas if replica.served} == {True}


WHO = st.integers(0, 2)


class Orderly(RuleBasedStateMachine):
    """Nobody but us writes, and nobody fails to reach a replica once the first installation is done."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.installed = False

    @initialize()
    def install(self) -> None:
        self.world.recover()
        self.installed = True

    @rule(who=WHO, fresh=st.booleans(), swaps=st.booleans(), acknowledges=st.booleans())
    def live(self, who: int, fresh: bool, swaps: bool, acknowledges: bool) -> None:
        if (replica := self.world.replicas[who]) in self.world.running():
            self.world.look(replica, fresh=fresh)
            if swaps:
                self.world.swap(replica)
            if acknowledges:
                self.world.acknowledge(replica)

    @rule(who=WHO, fresh=st.booleans())
    def decide(self, who: int, fresh: bool) -> None:
        if (replica := self.world.replicas[who]) in self.world.running():
            self.world.look(replica, fresh=fresh)
            self.world.decide(replica)

    @rule(who=WHO, writes=st.integers(1, len(KINDS)))
    def act(self, who: int, writes: int) -> None:
        if (replica := self.world.replicas[who]) in self.world.running() and replica.decided:
            self.world.act(replica, writes)

    @rule(
        who=WHO,
        demand=st.sampled_from(["ca", "", "leaf"]),
        deaf=st.none() | WHO,
        turns=st.sampled_from([16, 10, 6, 5, 4, 3, 2, 1]),
        patience=st.sampled_from([1.0, 0.94, 0.5]),
        crash=st.none() | st.integers(0, 9),
    )
    def lead(self, who: int, demand: Demand, deaf: int | None, turns: int, patience: float, crash: int | None) -> None:
        """Some steps on end, as in an ordinary cluster, and so much of the time that it has to wait.

        One replica may be cut off and all others run, or whoever does. In one step the leader may crash between two writes.
        """
        if deaf is not None:
            self.world.gather()
            self.world.replicas[deaf].cut_off = True
        if demand and self.world.secret.now.data is not None:
            self.world.secret.write(replace(self.world.secret.now, demand=demand), self.world.now)
        if (replica := self.world.replicas[who]) in self.world.running():
            for turn in range(turns):
                self.world.look(replica, fresh=True)
                step = self.world.decide(replica)
                self.world.act(replica, 1 if turn == crash else len(KINDS))
                if turn == crash:
                    self.world.start(replica)
                until = step.until if isinstance(step, Wait) and step.until else self.world.now
                self.world.pass_time(SECOND + patience * (until - self.world.now))
                self.check()

    @rule(who=WHO, how=st.sampled_from(["restarted", "killed", "cut off"]))
    def lose(self, who: int, how: str) -> None:
        replica = self.world.replicas[who]
        if how == "cut off":
            replica.cut_off = True
        else:
            replica.runs = False
        if how == "restarted":
            self.world.start(replica)

    @rule(time=st.sampled_from([SECOND, LAG, MARGIN / 2, MARGIN - 2 * LAG, MARGIN, MARGIN + LAG]))
    def wait(self, time: timedelta) -> None:
        self.world.pass_time(time)

    @rule(who=WHO, days=st.sampled_from([3, 12, 24]))
    def idle(self, who: int, days: int) -> None:
        """Days in which hardly anything is done: a step in three of them."""
        self.world.gather()
        for day in range(0, days, 3):
            self.world.pass_time(3 * DAY)
            leader = self.world.replicas[(who + day) % len(self.world.replicas)]
            self.world.look(leader, fresh=True)
            self.world.decide(leader)
            self.world.act(leader)
            self.check()

    @invariant()
    def check(self) -> None:
        if self.installed:
            assert self.world.failing() == []

    def teardown(self) -> None:
        self.world.recover()


class Tampered(Orderly):
    """Others break what they can: calls may fail then, but not for long, whatever it was."""

    @rule()
    def delete(self) -> None:
        self.world.secret.write(Secret(), self.world.now)

    @precondition(lambda self: self.world.secret.now.data is not None)
    @rule(draw=st.data(), size=st.integers(0, 400))
    def truncate(self, draw: st.DataObject, size: int) -> None:
        data = dict(self.world.secret.now.data or {})
        key = draw.draw(st.sampled_from(sorted(data)))
        self.world.secret.write(replace(self.world.secret.now, data=data | {key: data[key][:size]}), self.world.now)

    @rule()
    def swap_pair(self) -> None:
        ca = issue_ca(name="another CA", now=self.world.now)
        other = Material(ca, issue_leaf(ca, names=[NAME], now=self.world.now))
        self.world.secret.write(replace(self.world.secret.now, data=other.data()), self.world.now)

    @rule(ago=st.sampled_from([-DAY, timedelta(0), DAY]))
    def mark(self, ago: timedelta) -> None:
        self.world.secret.write(replace(self.world.secret.now, settled=self.world.now - ago), self.world.now)

    @rule()
    def roll_back(self) -> None:
        """A backup is put back."""
        self.world.secret.write(self.world.secret.versions[self.world.secret.last // 2][1], self.world.now)

    @rule(kind=st.sampled_from(KINDS), some=st.booleans(), how=st.integers(0, 3))
    def break_bundle(self, kind: str, some: bool, how: int) -> None:
        stored = self.world.configurations[kind]
        broken = dict(stored.now)
        for entry in ENTRIES[kind][:1] if some else ENTRIES[kind]:
            foreign = issue_ca(name="a foreign CA", now=self.world.now).certificate
            broken[entry] = (b"", b"junk", foreign, b"junk\n" + broken[entry] + foreign)[how]
        stored.write(broken, self.world.now)

    @rule()
    def forget(self) -> None:
        """The Lease is deleted."""
        self.world.lease.write({}, self.world.now)

    def check(self) -> None:
        pass


TestOrderly = Orderly.TestCase
TestOrderly.settings = settings(max_examples=60, stateful_step_count=20)
TestTampered = Tampered.TestCase
TestTampered.settings = settings(max_examples=60, stateful_step_count=15)
