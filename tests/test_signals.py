"""Ctrl-C at any moment, and workers whose parent is killed: one line, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

PATIENCE = 120.0
"""Seconds after which a process that should have ended is said to go on; never what is tested."""
SLOW_IMPORT = """
import sys, time
class Slow:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print("importing", flush=True)
            time.sleep(3600)
sys.meta_path.insert(0, Slow())
"""
LONG_STUDY = """
import sys
from pathlib import Path
from attnaudit.studies.run import options_of, prepare, run_study
from tests.study_fake import FAKE

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    given = {"data": ["a", "b"], "seeds": ["0"], "pause": 3600.0}
    options = options_of(FAKE, given, data_dir=None, quick=False)
    prepared = prepare(FAKE, options, folder, workers=2)
    counting = set()
    def watch(event):
        if event.kind == "progress" and event.cell.name not in counting:
            counting.add(event.cell.name)
            print("counting", flush=True)
    run_study(prepared, watch=watch)
"""


def start(*command: str, **variables: str) -> subprocess.Popen[str]:
    """A Python process of its own group, in which Ctrl-C does what it does in a terminal."""
    return subprocess.Popen(
        [sys.executable, *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **variables},
        cwd=Path(__file__).parents[1],
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def group(leader: int) -> list[int]:
    """The processes of a group that are alive."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader and fields[0] not in "ZX":
            found.append(int(stat.parent.name))
    return found


def until(holds: Callable[[], bool]) -> bool:
    """Whether something comes to hold, however busy the machine is."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def end_group(process: subprocess.Popen[str]) -> None:
    for one in group(process.pid):
        os.kill(one, signal.SIGKILL)


@pytest.mark.parametrize(
    "command",
    [("-m", "attnaudit", "list"), ("-c", "from attnaudit.__main__ import main; main()", "list")],
)
def test_ctrl_c_during_start_up(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "sitecustomize.py").write_text(SLOW_IMPORT)
    paths = os.pathsep.join([str(tmp_path), *sys.path])
    process = start(*command, PYTHONPATH=paths)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "importing\n"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
    finally:
        end_group(process)
    assert process.returncode == 130
    assert err == "attnaudit: stopped.\n"
    assert out == ""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_workers_end_with_their_parent(tmp_path: Path, sign: signal.Signals) -> None:
    script = tmp_path / "long_study.py"
    script.write_text(LONG_STUDY)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = start(str(script), str(tmp_path / "run"), PYTHONPATH=paths)
    assert process.stdout is not None
    try:
        lines = [process.stdout.readline() for _ in range(2)]
        assert lines == ["counting\n", "counting\n"]
        assert len(group(process.pid)) >= 3
        process.send_signal(sign)
        process.wait(PATIENCE)
        assert until(lambda: not group(process.pid)), "workers go on without their parent"
        assert process.communicate()[1] == ""
    finally:
        end_group(process)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_ctrl_c_while_workers_work(tmp_path: Path) -> None:
    script = tmp_path / "long_study.py"
    script.write_text(LONG_STUDY)
    paths = os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])
    process = start(str(script), str(tmp_path / "run"), PYTHONPATH=paths)
    assert process.stdout is not None
    try:
        assert [process.stdout.readline() for _ in range(2)] == ["counting\n"] * 2
        os.killpg(process.pid, signal.SIGINT)
        assert until(lambda: not group(process.pid)), "workers go on without their parent"
        err = process.communicate()[1]
    finally:
        end_group(process)
    # the script does not catch it, so its own traceback is there, and none of a worker
    assert err.count("Traceback") == 1
    assert err.rstrip().endswith("KeyboardInterrupt")
