"""The worker process: what comes back from it, and what becomes of it when something goes wrong."""

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop

from bench import linear
from bench.starve import manifests
from webhook import admission, aside, page, pagesize, quantity, report
from webhook.aside import Aside, Busy, OutOfMemory, WorkerLost
from webhook.manifest import read
from webhook.settings import Settings
from webhook.shape import Malformed
from webhook.workload import review_all

SPIN = "while True: pass"
SERVER = """\
import asyncio, os, sys
from webhook.aside import Aside

async def main():
    aside = Aside(waiting=1)
    print(await aside.run(os.getpid), flush=True)
    await (aside.run(exec, "while True: pass") if sys.argv[1] == "spin" else asyncio.sleep(60))

asyncio.run(main())
"""


def _with(test: Callable[[Aside], Awaitable[None]], waiting: int = 4) -> None:
    """Run a test on the event loop of the server, and close what it was given."""

    async def run() -> None:
        given = Aside(waiting=waiting)
        try:
            await asyncio.wait_for(test(given), 60)
        finally:
            await given.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


def _children() -> set[int]:
    return {int(pid) for task in Path("/proc/self/task").iterdir() for pid in (task / "children").read_text().split()}


def _lives(pid: int) -> bool:
    """A process that is more than an entry of the process table."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


async def _ended(pid: int) -> None:
    await asyncio.to_thread(_until, lambda: not _lives(pid))


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """A pipe with a name: whoever reads it waits until somebody has written to it."""
    path = tmp_path / "gate"
    os.mkfifo(path)
    return path


async def _at(gate: Path) -> int:
    """The gate, open for writing; from now on somebody waits there."""
    return await asyncio.to_thread(os.open, gate, os.O_WRONLY)


async def _through(gate: Path, text: bytes = b"go") -> None:
    """Let whoever waits there go on."""
    descriptor = await _at(gate)
    os.write(descriptor, text)
    os.close(descriptor)


# --- what comes back


def test_no_process_is_started_before_the_first_call_and_one_serves_all() -> None:
    before = _children()

    async def test(aside: Aside) -> None:
        assert _children() == before
        first = await aside.run(os.getpid)
        assert await asyncio.gather(*[aside.run(os.getpid) for _ in range(4)]) == [first] * 4
        assert _children() == before | {first}

    _with(test)
    assert _children() == before


def test_seven_mebibytes_go_there_and_come_back() -> None:
    body = os.urandom(7 * 1024 * 1024)

    async def test(aside: Aside) -> None:
        assert await aside.run(bytes, body) == body

    _with(test)


def _answer(body: bytes, settings: Settings) -> bytes:
    return orjson.dumps(report.record(review_all(read(body), settings)))


def test_large_manifests_are_answered_as_they_would_be_here() -> None:
    settings = Settings(cpu_step=2, default_hugepages={"2Mi": "64Mi"})
    sized = {len(body) // 100_000: body for body in manifests()}
    template = {"metadata": {"annotations": {"dpdk": "true"}}, "spec": linear.FAMILIES["DPDK containers"].make(100)["spec"]}
    deployment = orjson.dumps({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template}})

    async def test(aside: Aside) -> None:
        # 500 kB and 3 MB, YAML and JSON
        for body in (sized[5], sized[4], sized[30], sized[29], deployment):
            assert await aside.run(_answer, body, settings) == _answer(body, settings)
        form = b"pod=" + deployment.replace(b"+", b"%2B")
        assert await aside.run(page.answer, form, settings) == page.answer(form, settings)

    _with(test)


@pytest.mark.parametrize(
    ("work", "args"),
    [
        pytest.param(read, (b"{a: [}",), id="a manifest that is no YAML"),
        pytest.param(review_all, ([{"spec": {"containers": [{"name": 1}]}}], Settings()), id="a pod of the wrong shape"),
        pytest.param(admission.parse, (b'{"kind": "Pod"}',), id="a review that is none"),
        pytest.param(quantity.parse, ("1 Gi",), id="a quantity that is none"),
        pytest.param(pagesize.page_size, ("1024Mi",), id="a page size by another name"),
    ],
)
def test_what_is_raised_there_is_raised_here_with_its_attributes(work: Callable[..., Any], args: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError) as here:  # noqa: PT011 - each has a class of its own
        work(*args)

    async def test(aside: Aside) -> None:
        with pytest.raises(type(here.value)) as there:
            await aside.run(work, *args)
        attributes = dict(vars(there.value))
        assert "Traceback" in attributes.pop("__notes__")[0]
        assert (attributes, there.value.args) == (vars(here.value), here.value.args)
        assert str(there.value) == str(here.value)

    _with(test)


def test_a_manifest_without_a_pod_says_where_as_ever() -> None:
    async def test(aside: Aside) -> None:
        with pytest.raises(Malformed) as raised:
            await aside.run(review_all, [{"spec": {"containers": {}}}], Settings())
        assert (raised.value.path, raised.value.problem) == (("spec", "containers"), "a list is expected, not an object")
        assert str(raised.value) == "spec.containers: a list is expected, not an object"

    _with(test)


def test_a_bug_comes_back_with_the_line_where_it_happened() -> None:
    async def test(aside: Aside) -> None:
        with pytest.raises(AttributeError) as raised:
            await aside.run(report.record, [None])
        assert str(raised.value) == "'NoneType' object has no attribute 'subjects'"
        assert "webhook/report.py" in raised.value.__notes__[0]
        with pytest.raises(TypeError, match="cannot pickle"):
            await aside.run(sys._getframe)
        assert await aside.run(len, "still there") == 11

    _with(test)


def test_what_is_printed_there_goes_nowhere() -> None:
    async def test(aside: Aside) -> None:
        await aside.run(print, "not an answer")
        assert await aside.run(len, "an answer") == 9

    _with(test)


# --- the process


def test_the_worker_is_small_and_knows_no_server(tmp_path: Path) -> None:
    listener = os.open(tmp_path, os.O_RDONLY)
    os.set_inheritable(listener, True)

    async def test(aside: Aside) -> None:
        await aside.run(page.answer, b"pod=" + manifests()[1], Settings())
        modules = set(await aside.run(eval, "list(__import__('sys').modules)"))
        assert {"webhook.page", "webhook.rules"} <= modules
        unwanted = {"fastapi", "starlette", "uvicorn", "uvloop", "multiprocessing", "pytest", "webhook.app", "webhook.server"}
        assert not modules & unwanted
        descriptors = set(await aside.run(os.listdir, "/proc/self/fd"))
        assert descriptors == {"0", "1", "2", "3"}  # the channel, nothing, standard error, and the directory that is listed

    _with(test)
    os.close(listener)


def test_the_worker_finds_modules_where_the_server_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere.py").write_text("def work():\n    return 'found'\n")
    monkeypatch.syspath_prepend(tmp_path)

    async def test(aside: Aside) -> None:
        assert await aside.run(importlib.import_module("elsewhere").work) == "found"

    _with(test)


def test_admission_goes_first() -> None:
    async def test(aside: Aside) -> None:
        assert await aside.run(os.nice, 0) == 19
        assert os.nice(0) < 19

    _with(test)


def test_the_loop_goes_on_while_the_worker_works(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        call = asyncio.create_task(aside.run(Path.read_bytes, gate))
        await _through(gate, b"written by the loop")
        assert await call == b"written by the loop"

    _with(test)


def test_signals_to_the_whole_group_end_no_worker(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        pid = await aside.run(os.getpid)
        call = asyncio.create_task(aside.run(Path.read_bytes, gate))
        descriptor = await _at(gate)
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(pid, number)
        os.write(descriptor, b"answered")
        os.close(descriptor)
        assert await call == b"answered"
        assert await aside.run(os.getpid) == pid

    _with(test)


@pytest.mark.parametrize("doing", ["nothing", "spin"])
def test_a_server_that_is_killed_leaves_no_worker(doing: str) -> None:
    with subprocess.Popen([sys.executable, "-c", SERVER, doing], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        worker = int(server.stdout.readline())
        assert _lives(worker)
        time.sleep(0.1 if doing == "spin" else 0)  # until it spins
        server.kill()
    _until(lambda: not _lives(worker))


def test_an_idle_worker_ends_and_the_next_call_gets_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aside, "IDLE", 0.1)

    async def test(aside: Aside) -> None:
        first = await aside.run(os.getpid)
        await aside.run(time.sleep, 0.3)  # a call is never taken for idleness
        assert await aside.run(os.getpid) == first
        await _ended(first)
        assert await aside.run(os.getpid) != first

    _with(test)


# --- the line


def test_one_call_too_many_is_turned_away_and_the_others_are_answered_in_turn(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        answered: list[str] = []

        async def call(name: str, work: Callable[..., Any], *args: Any) -> None:
            await aside.run(work, *args)
            answered.append(name)

        calls = [asyncio.create_task(call("runs", Path.read_bytes, gate))]
        calls += [asyncio.create_task(call(name, os.getpid)) for name in ("waits", "waits too")]
        descriptor = await _at(gate)
        with pytest.raises(Busy, match=r"^too many are waiting for an answer of this kind$"):
            await aside.run(os.getpid)
        os.close(descriptor)
        await asyncio.gather(*calls)
        assert answered == ["runs", "waits", "waits too"]
        assert await asyncio.gather(*[aside.run(len, "abc") for _ in range(3)]) == [3, 3, 3]

    _with(test, waiting=2)


def test_who_goes_away_while_the_call_runs_blocks_nobody(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        first = await aside.run(os.getpid)
        gone = asyncio.create_task(aside.run(Path.read_bytes, gate))
        next_one = asyncio.create_task(aside.run(os.getpid))
        descriptor = await _at(gate)
        gone.cancel()
        assert await next_one != first
        os.close(descriptor)
        assert gone.cancelled()
        await _ended(first)

    _with(test, waiting=1)


def test_who_goes_away_while_the_worker_starts_leaves_none_behind() -> None:
    before = _children()

    async def test(aside: Aside) -> None:
        for steps in range(8):
            gone = asyncio.create_task(aside.run(os.getpid))
            for _ in range(steps):
                await asyncio.sleep(0)
            gone.cancel()
            await asyncio.wait([gone])
        last = await aside.run(os.getpid)
        await asyncio.to_thread(_until, lambda: _children() == before | {last})

    _with(test)


def test_who_goes_away_in_line_leaves_the_running_call_alone_and_gives_up_the_place(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        running = asyncio.create_task(aside.run(Path.read_bytes, gate))
        gone = asyncio.create_task(aside.run(os.getpid))
        descriptor = await _at(gate)
        gone.cancel()
        await asyncio.wait([gone])
        behind = asyncio.create_task(aside.run(len, "abc"))
        await asyncio.sleep(0)
        os.write(descriptor, b"undisturbed")
        os.close(descriptor)
        assert (await running, await behind) == (b"undisturbed", 3)

    _with(test, waiting=1)


# --- what goes wrong


def test_a_worker_that_is_killed_fails_its_call_and_the_next_gets_another(gate: Path) -> None:
    async def test(aside: Aside) -> None:
        first = await aside.run(os.getpid)
        call = asyncio.create_task(aside.run(Path.read_bytes, gate))
        descriptor = await _at(gate)
        os.kill(first, signal.SIGKILL)
        with pytest.raises(WorkerLost, match=r"^the process that works on it ended$"):
            await call
        os.close(descriptor)
        second = await aside.run(os.getpid)
        assert second != first
        os.kill(second, signal.SIGKILL)
        await asyncio.to_thread(os.waitid, os.P_PID, second, os.WEXITED | os.WNOWAIT)
        assert await aside.run(os.getpid) not in (first, second)

    _with(test)


def test_a_worker_that_ends_in_the_midst_of_its_answer_fails_the_call() -> None:
    async def test(aside: Aside) -> None:
        with pytest.raises(WorkerLost, match=r"^the process that works on it ended$"):
            await aside.run(exec, "import os; os.write(0, (100).to_bytes(8) + b'half of it'); os._exit(0)")
        assert await aside.run(len, "abc") == 3

    _with(test)


@pytest.mark.parametrize("work", [SPIN, "import ctypes; ctypes.PyDLL(None).sleep(60)"], ids=["in Python", "in C, with the GIL"])
def test_a_call_that_takes_too_long_is_ended(work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(aside_: Aside) -> None:
        first = await aside_.run(os.getpid)
        monkeypatch.setattr(aside, "LONGEST", 0.2)
        with pytest.raises(WorkerLost, match=r"^no answer within 0.2 seconds$"):
            await aside_.run(exec, work)
        monkeypatch.undo()
        await _ended(first)
        assert await aside_.run(os.getpid) != first

    _with(test)


@pytest.mark.parametrize(
    "work",
    [
        pytest.param("'x' * (1 << 40)", id="at once"),
        pytest.param("exec('held = []\\nwhile True: held.append(b\"x\" * (1 << 16))')", id="by and by"),
        pytest.param("(lambda grow: grow(grow, []))(lambda grow, held: grow(grow, [held, [0] * 99_999]))", id="in many frames"),
    ],
)
def test_work_without_a_bound_ends_at_the_memory_it_may_have(work: str, capfd: pytest.CaptureFixture[str]) -> None:
    async def test(aside_: Aside) -> None:
        first = await aside_.run(os.getpid)
        with pytest.raises(OutOfMemory, match=r"^this takes more than 256 MiB of memory to answer$"):
            await aside_.run(eval, work)
        await _ended(first)
        assert len(await aside_.run(bytes, 50 << 20)) == 50 << 20

    _with(test)
    assert capfd.readouterr().err == ""


def test_a_worker_that_can_not_be_started_is_a_lost_one(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(aside: Aside) -> None:
        with monkeypatch.context() as patched:
            patched.setattr(sys, "executable", "/nowhere/python")
            with pytest.raises(WorkerLost, match=r"^the process that works on it ended$"):
                await aside.run(os.getpid)
        assert await aside.run(len, "abc") == 3

    _with(test)


def test_closing_ends_the_worker_and_whoever_waits_for_it() -> None:
    async def test(aside: Aside) -> None:
        worker = await aside.run(os.getpid)
        calls = [asyncio.create_task(aside.run(exec, SPIN)), asyncio.create_task(aside.run(os.getpid))]
        await asyncio.sleep(0.1)
        await aside.close()
        await _ended(worker)
        ends = await asyncio.gather(*calls, aside.run(os.getpid), return_exceptions=True)
        assert [(type(end), str(end)) for end in ends] == [
            (WorkerLost, "the process that works on it ended"),
            (WorkerLost, "the server is ending"),
            (WorkerLost, "the server is ending"),
        ]
        await aside.close()

    _with(test)
