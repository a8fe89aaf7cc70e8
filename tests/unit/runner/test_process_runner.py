"""A model may do what it likes in its child: the worker gets a RunnerFault, and the next run works."""

import asyncio
import contextlib
import importlib.util
import os
import py_compile
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from ai_engine.geometry import Geometry
from ai_engine.runners import process, sandbox
from ai_engine.runners.channel import SharedMemory
from ai_engine.runners.port import (
    ModelOutOfMemory,
    ModelOutputInvalid,
    ModelRaised,
    ModelTimedOut,
    NamedValue,
    RunnerFault,
    RunnerInput,
    SandboxUnavailable,
    Score,
)
from ai_engine.runners.process import RunnerPolicy

from .conftest import MakeRunner

GOOD = """
def run(voxels, affine, parameters):
    return {"labels": (voxels > parameters["threshold"]).astype("uint8"),
            "values": [{"name": "mean", "value": voxels.mean()},
                       {"name": "area", "value": 2, "slice_index": 3},
                       {"name": "depth", "value": affine[0, 0]}],
            "not_measured": {"lung.volume": "no lung in the field of view"}}
"""


async def test_run_gives_labels_values_and_reasons(make_runner: MakeRunner, work: RunnerInput) -> None:
    output = await make_runner(GOOD).run(work)
    assert output.labels is not None
    assert output.labels.dtype == np.uint8
    assert np.array_equal(output.labels, work.voxels > 3)
    assert output.values == (NamedValue("mean", -0.5), NamedValue("area", 2.0, 3), NamedValue("depth", 2.0))
    assert output.not_measured == {"lung.volume": "no lung in the field of view"}


async def test_function_of_several_volumes_gets_those_that_wait(
    make_runner: MakeRunner, work: RunnerInput
) -> None:
    runner = make_runner(
        """
        def run(voxels, affines, parameters):
            if any(one.max() > 500 for one in voxels) and len(voxels) > 1:
                raise ValueError
            together = {"name": "together", "value": len(voxels)}
            return [{"values": [{"name": "size", "value": one.shape[0]}, together]} for one in voxels]
        """,
        batch=3,
    )
    works = [replace(work, voxels=work.voxels + 1000 * (n == 2)) for n in range(4)]
    outputs = await asyncio.gather(*map(runner.run, works))
    assert [[value.value for value in output.values] for output in outputs] == [
        [4, 1],
        [4, 1],
        [4, 1],
        [4, 1],
    ]
    outputs = await asyncio.gather(*map(runner.run, works[:2] + works[:2]))
    assert sorted(output.values[1].value for output in outputs) == [1, 3, 3, 3]


async def test_child_stays_warm_and_forgets(make_runner: MakeRunner, work: RunnerInput) -> None:
    runner = make_runner("""
        import os, pathlib, tempfile
        calls = 0
        def run(voxels, affine, parameters):
            global calls
            calls += 1
            here = pathlib.Path(tempfile.gettempdir())
            left = len(list(here.iterdir()))
            (here / "left").write_text("x")
            return {"values": [{"name": "calls", "value": calls}, {"name": "left", "value": left}]}
        """)
    first = await runner.run(work)
    second = await runner.run(work)
    assert [v.value for v in first.values] == [1, 0]
    assert [v.value for v in second.values] == [2, 0]


async def test_byte_code_beside_the_source_is_not_run(
    make_runner: MakeRunner, work: RunnerInput, tmp_path: Path
) -> None:
    said = "def run(*_):\n    return {'values': [{'name': 'mean', 'value': %d}]}\n"
    runner = make_runner(said % 1)
    planted = tmp_path / "planted.py"
    planted.write_text(said % 2)
    source = tmp_path / "bundle0" / "scripts" / "model.py"
    cache = Path(importlib.util.cache_from_source(str(source)))
    py_compile.compile(
        str(planted), str(cache), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH
    )
    (output,) = (await runner.run(work)).values
    assert output.value == 1


@pytest.mark.parametrize(
    ("body", "fault", "text"),
    [
        pytest.param(
            "raise ValueError('PatientName')", ModelRaised, "ValueError at scripts/model.py:3", id="raises"
        ),
        pytest.param("raise SystemExit(0)", ModelRaised, "SystemExit", id="exits"),
        pytest.param("import os; os._exit(0)", ModelRaised, "ended its process", id="exits at once"),
        pytest.param("import os; os.abort()", ModelRaised, "SIG", id="aborts"),
        pytest.param("import ctypes; ctypes.string_at(0)", ModelRaised, "SIGSEGV", id="segfaults"),
        pytest.param("import numpy; numpy.ones(1 << 31, 'u1')", ModelOutOfMemory, "memory", id="large array"),
        pytest.param(
            "x = []\n    while 1: x.append('x' * 10**7)", ModelOutOfMemory, "memory", id="eats memory"
        ),
        pytest.param("return None", ModelOutputInvalid, "no mapping", id="returns nothing"),
        pytest.param(
            "return {'labels': voxels}", ModelOutputInvalid, "not uint8", id="labels of another type"
        ),
        pytest.param(
            "return {'labels': voxels[1:].astype('u1')}", ModelOutputInvalid, "shape", id="labels too few"
        ),
        pytest.param("return {'labels': [1]}", ModelOutputInvalid, "not an array", id="labels are a list"),
        pytest.param(
            "return {'values': [{'name': 'a', 'value': float('nan')}]}",
            ModelOutputInvalid,
            "a: not a finite",
            id="NaN",
        ),
        pytest.param(
            "return {'values': [{'name': 'a', 'value': float('inf')}]}",
            ModelOutputInvalid,
            "a: not a finite",
            id="infinite",
        ),
        pytest.param(
            "return {'values': [{'name': 'a', 'value': 'x'}]}",
            ModelOutputInvalid,
            "not {name",
            id="value is text",
        ),
        pytest.param(
            "return {'values': [{'name': 'Doe^John', 'value': 1}]}",
            ModelOutputInvalid,
            "other characters",
            id="odd name",
        ),
        pytest.param(
            "return {'values': [{'name': 'a', 'value': 1, 'slice_index': 4}]}",
            ModelOutputInvalid,
            "no such slice",
            id="slice outside",
        ),
        pytest.param(
            "return {'values': [{'name': 'a', 'value': 1}] * 6000}",
            ModelOutputInvalid,
            "more than 5000",
            id="many values",
        ),
        pytest.param(
            "return {'values': [{'name': 'a' * 120, 'value': 1}] * 90000}",
            ModelOutputInvalid,
            "more than a reply",
            id="huge list",
        ),
        pytest.param(
            "return {'detections': [{'name': 'a', 'probability': 1, 'center': (0, 0, 0)}] * 300}",
            ModelOutputInvalid,
            "more than 200 detections",
            id="300 detections",
        ),
        pytest.param(
            "import numpy; return {'labels': numpy.zeros((5, 4, 6), 'u1')}",
            ModelOutputInvalid,
            "another shape",
            id="labels turned",
        ),
        pytest.param(
            "return {'not_measured': {'a': 'x' * 501}}", ModelOutputInvalid, "a: its reason", id="long reason"
        ),
        pytest.param(
            "return {'not_measured': {'a': 1}}", ModelOutputInvalid, "no text", id="reason is a number"
        ),
    ],
)
async def test_bad_model_is_a_fault_and_the_next_run_works(
    make_runner: MakeRunner, work: RunnerInput, body: str, fault: type[RunnerFault], text: str
) -> None:
    runner = make_runner(f"""
def run(voxels, affine, parameters):
    {body}
""")
    with pytest.raises(fault) as raised:
        await runner.run(work)
    assert text in str(raised.value)
    assert "PatientName" not in str(raised.value)
    assert "Doe" not in str(raised.value)
    assert runner._child is None
    (runner._bundle / "scripts" / "model.py").write_text(GOOD)
    assert (await runner.run(work)).labels is not None


@pytest.mark.parametrize("source", ["raise ImportError", "def other(): pass", "run = 3", "def run(:"])
async def test_entry_that_cannot_be_loaded(make_runner: MakeRunner, work: RunnerInput, source: str) -> None:
    with pytest.raises(ModelRaised):
        await make_runner(source).run(work)


async def test_hanging_model_is_killed_while_the_loop_runs(
    make_runner: MakeRunner, work: RunnerInput
) -> None:
    runner = make_runner("def run(*a):\n    while True: pass", timeout_s=1.5)
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.05)
            beats += 1

    heart = asyncio.create_task(beat())
    with pytest.raises(ModelTimedOut, match=r"1\.5 s"):
        await runner.run(work)
    heart.cancel()
    assert beats > 10


async def test_cancelling_kills_the_child(make_runner: MakeRunner, work: RunnerInput) -> None:
    runner = make_runner("def run(*a):\n    while True: pass")
    task = asyncio.create_task(runner.run(work))
    while runner._child is None and not task.done():
        await asyncio.sleep(0.01)
    assert runner._child is not None, task.exception()
    pid = runner._child.pid
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not psutil.pid_exists(pid)


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


async def test_cancelling_while_voxels_are_copied_leaves_no_memory(
    work: RunnerInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied: list[SharedMemory] = []
    go, holding = threading.Event(), SharedMemory.holding

    def slowly(array: Any) -> SharedMemory:
        assert go.wait(10)
        copied.append(holding(array))
        return copied[-1]

    stack = contextlib.ExitStack()
    monkeypatch.setattr(SharedMemory, "holding", slowly)
    task = asyncio.create_task(process._shared(work, stack))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go.set()
    async with asyncio.timeout(10):
        while not copied or _is_open(copied[0].fd):
            await asyncio.sleep(0.01)


async def test_printing_and_reading_standard_streams_is_harmless(
    make_runner: MakeRunner, work: RunnerInput
) -> None:
    output = await make_runner("""
        import os, sys
        def run(*a):
            print("junk" * 100000); sys.stderr.write("junk"); os.write(1, b"\\0" * 999); os.write(0 + 2, b"x")
            return {"values": [{"name": "read", "value": len(sys.stdin.read())}]}
        """).run(work)
    assert output.values[0].value == 0


def _tries(statement: str) -> str:
    """A model that says 1 where `statement` succeeds, 0 where the system refuses it."""
    return f"""
import ctypes, os, pathlib, socket, signal
def attempt():
    {statement}
def run(*a):
    try:
        attempt()
    except OSError:
        return {{"values": [{{"name": "did", "value": 0}}]}}
    return {{"values": [{{"name": "did", "value": 1}}]}}
"""


@pytest.mark.parametrize(
    "statement",
    [
        pytest.param("socket.create_connection(('127.0.0.1', {port}), 2)", id="loopback"),
        pytest.param("socket.create_connection(('192.0.2.1', 9), 2)", id="network"),
        pytest.param("pathlib.Path({secret!r}).read_text()", id="reads a secret"),
        pytest.param("os.listdir({folder!r})", id="lists the secret's folder"),
        pytest.param("pathlib.Path('/etc/passwd').read_text()", id="reads /etc"),
        pytest.param("pathlib.Path('/bundle/scripts/model.py').write_text('')", id="writes its bundle"),
        pytest.param("pathlib.Path('/usr/x').write_text('')", id="writes the system"),
        pytest.param("pathlib.Path('/x').write_text('')", id="writes the root"),
        pytest.param("os.kill({pid}, 0)", id="sees the worker"),
        pytest.param("pathlib.Path('/proc/{pid}/environ').read_bytes()", id="reads the worker's environment"),
        pytest.param(
            "if ctypes.CDLL(None, use_errno=True).unshare(0x10000000): raise OSError", id="user namespace"
        ),
        pytest.param("if ctypes.CDLL(None).mount(b'x', b'/tmp', b'tmpfs', 0, 0): raise OSError", id="mounts"),
        pytest.param("pathlib.Path('/dev/vda').open('rb')", id="opens a disk"),
    ],
)
async def test_sandbox_refuses(
    make_runner: MakeRunner, work: RunnerInput, tmp_path: Path, statement: str
) -> None:
    secret = tmp_path / "data" / "secret"
    secret.parent.mkdir()
    secret.write_text("key")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    async with server:
        filled = statement.format(
            port=server.sockets[0].getsockname()[1],
            secret=str(secret),
            folder=str(secret.parent),
            pid=os.getpid(),
        )
        output = await make_runner(_tries(filled)).run(work)
    assert output.values[0].value == 0


async def test_sandbox_hides_paths_in_shown_folders(make_runner: MakeRunner, work: RunnerInput) -> None:
    shown = Path(sys.prefix, "lib")
    source = f"""
import pathlib
def run(*a):
    try:
        count = len(list(pathlib.Path({str(shown)!r}).iterdir()))
    except OSError:
        count = 0
    return {{"values": [{{"name": "count", "value": count}}]}}
"""
    assert (await make_runner(source).run(work)).values[0].value > 0
    hiding = RunnerPolicy(hidden_paths=(Path(np.__file__).parent / "testing",))
    probing = source.replace(str(shown), str(hiding.hidden_paths[0]))
    assert (await make_runner(probing).run(work)).values[0].value > 0
    assert (await make_runner(probing, policy=hiding).run(work)).values[0].value == 0


async def test_child_has_no_environment_of_the_worker(
    make_runner: MakeRunner, work: RunnerInput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ISTHMUS_MASTER_KEY", "secret")
    output = await make_runner("""
        import os
        def run(*a):
            return {"values": [{"name": n, "value": 1} for n in os.environ]}
        """).run(work)
    assert {value.name for value in output.values} <= {
        *("PATH", "LANG", "LC_CTYPE", "HOME", "TMPDIR", "LOGNAME", "MALLOC_ARENA_MAX"),
        *("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES"),
    }


STRAY = """
import os, time
def run(*a):
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep({seconds})
        os._exit(0)
    {then}
    return {{"values": []}}
"""


_ELDERS: set[psutil.Process] = set()  # servers that the tests of this process share


@pytest.fixture(autouse=True)
def _note_elders() -> None:
    _ELDERS.update(psutil.Process().children(recursive=True))


def _family() -> list[psutil.Process]:
    """What the test started and that runs: of a sandbox the waiting process, the confined, its own."""
    found = set(psutil.Process().children(recursive=True)) - _ELDERS
    return [one for one in found if one.status() != psutil.STATUS_ZOMBIE]


async def test_processes_left_behind_die_after_the_run(make_runner: MakeRunner, work: RunnerInput) -> None:
    await make_runner(STRAY.format(seconds=600, then="pass")).run(work)
    assert len(_family()) == 2


async def test_processes_left_behind_die_with_a_killed_child(
    make_runner: MakeRunner, work: RunnerInput
) -> None:
    runner = make_runner(STRAY.format(seconds=600, then="time.sleep(600)"))
    task = asyncio.create_task(runner.run(work))
    while len(family := _family()) < 3:
        await asyncio.sleep(0.02)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    _, alive = await asyncio.to_thread(psutil.wait_procs, family, 5)
    assert alive == []


WORKER = """
import asyncio, sys
from pathlib import Path
import numpy as np
from ai_engine.geometry import Geometry
from ai_engine.runners.port import RunnerInput
from ai_engine.runners.process import ProcessRunner, Program, RunnerLimits

async def main():
    shape = (2, 2, 2)
    work = RunnerInput(np.zeros(shape, np.int16), Geometry(shape, np.eye(4), "2.25.1"), {})
    runner = ProcessRunner(Path(sys.argv[1]), Program("model:run"), RunnerLimits(1024, 600))
    task = asyncio.create_task(runner.run(work))
    while runner._child is None:  # noqa: ASYNC110 - polled from outside
        await asyncio.sleep(0.01)
    print(runner._child.pid, flush=True)
    await task

asyncio.run(main())
"""


def test_child_dies_with_a_killed_worker(tmp_path: Path) -> None:
    (tmp_path / "model.py").write_text("def run(*a):\n    while True: pass")
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(WORKER), str(tmp_path)], stdout=subprocess.PIPE, text=True
    ) as worker:
        assert worker.stdout is not None
        child = psutil.Process(int(worker.stdout.readline()))
        while len(family := [child, *child.children(recursive=True)]) < 2:
            time.sleep(0.05)  # it is slow to be there on a busy machine
        worker.send_signal(signal.SIGKILL)
        worker.wait()
        _, alive = psutil.wait_procs(family, timeout=5)
        assert [one for one in alive if one.status() != psutil.STATUS_ZOMBIE] == []


@pytest.fixture
def no_sandbox(monkeypatch: pytest.MonkeyPatch) -> None:
    missing = sandbox.SandboxSupport(available=False, reason="unshare was refused")
    monkeypatch.setattr(process, "probe_sandbox", lambda: missing)


@pytest.mark.usefixtures("no_sandbox")
async def test_without_sandbox_refused_unless_allowed(make_runner: MakeRunner, work: RunnerInput) -> None:
    with pytest.raises(SandboxUnavailable, match="unshare was refused; or set allow_unsandboxed"):
        await make_runner(GOOD).run(work)
    allowing = RunnerPolicy(allow_unsandboxed=True)
    assert (await make_runner(GOOD, policy=allowing).run(work)).labels is not None
    eater = make_runner("import numpy\ndef run(*a): numpy.ones(1 << 31, 'u1')", policy=allowing)
    with pytest.raises(ModelOutOfMemory):
        await eater.run(work)


async def test_voxels_must_fit_their_geometry(make_runner: MakeRunner, work: RunnerInput) -> None:
    other = Geometry((4, 5, 7), work.geometry.affine, "2.25.1")
    with pytest.raises(ValueError, match="shape of their geometry"):
        await make_runner(GOOD).run(RunnerInput(work.voxels, other, {}))


async def test_libraries_below_the_temporary_folder_are_seen(
    make_runner: MakeRunner, work: RunnerInput, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = Path(tempfile.mkdtemp(prefix="isthmus-library-"))  # as of an environment made below /tmp
    (library / "somewhere.py").write_text("NUMBER = 7")
    monkeypatch.setattr(sandbox, "LIBRARIES", (*sandbox.LIBRARIES, str(library)))
    try:
        output = await make_runner("""
            import somewhere
            def run(*a):
                return {"values": [{"name": "number", "value": somewhere.NUMBER}]}
            """).run(work)
    finally:
        shutil.rmtree(library)
    assert output.values[0].value == 7


FOUND = """
    import numpy as np

    def run(voxels, affine, parameters):
        labels = np.zeros(voxels.shape, np.uint8)
        labels[1, 2, 3] = 5
        return {
            "labels": labels,
            "detections": [@@],
            "scores": [{"name": "effusion", "probability": np.float32(0.25), "uncertainty": 0.1}],
            "quality": {"noise": "The images are noisy."},
        }
"""
DETECTION = {
    "name": "nodule",
    "probability": 0.75,
    "center": [1, 2, 3],
    "label": 5,
    "side": "left",
    "long_axis": [[1, 1, 3], [1, 4, 3]],
    "box": [[0, 1, 2], [2, 4, 4]],
    "values": [{"name": "diameter", "value": 4.5}],
}


async def test_detections_scores_and_flags_come_back(make_runner: MakeRunner, work: RunnerInput) -> None:
    output = await make_runner(FOUND.replace("@@", repr(DETECTION))).run(work)
    (found,) = output.detections
    assert (found.name, found.probability, found.centre, found.label) == ("nodule", 0.75, (1, 2, 3), 5)
    assert (found.long_axis, found.box) == (((1, 1, 3), (1, 4, 3)), ((0, 1, 2), (2, 4, 4)))
    assert (found.side, found.uncertainty, found.values[0].value) == ("left", None, 4.5)
    assert output.scores == (Score("effusion", 0.25, 0.1),)
    assert output.quality == {"noise": "The images are noisy."}
