"""Processes of the benchmark end with it, on whatever path it ends."""

import os
import shutil
import signal
import subprocess
import sys
import textwrap

import psutil
import pytest

from testproject.bench.processes import ROOT, ends_on_signals, running

WITH_A_CHILD = """
    import subprocess, sys
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    print(child.pid, flush=True)
    child.wait()
"""


def python(source):
    return [sys.executable, "-c", textwrap.dedent(source)]


def gone(*processes):
    """Whether all end; waits for them at most as long as a test may hang."""
    _, alive = psutil.wait_procs(processes, timeout=30)
    return not alive


def test_running_ends_the_whole_group_when_the_block_raises():
    started = []

    def fail():
        with running(python(WITH_A_CHILD), core=None, talks=True) as process:
            child = int(process.popen.stdout.readline())
            started.extend([psutil.Process(process.popen.pid), psutil.Process(child)])
            raise LookupError

    with pytest.raises(LookupError):
        fail()

    assert gone(*started)


def test_running_ends_a_process_that_does_not_hear(monkeypatch):
    monkeypatch.setattr("testproject.bench.processes._PATIENCE", 0.01)
    deaf = """
        import signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
        while True:
            signal.pause()
    """
    with running(python(deaf), core=None, talks=True) as process:
        assert process.popen.stdout.readline() == b"deaf\n"

    assert process.popen.returncode == -signal.SIGKILL


def test_processes_end_when_the_benchmark_is_killed():
    if not shutil.which("setpriv"):
        pytest.skip("setpriv, of util-linux, is not here")
    benchmark = """
        import os, signal, sys
        from testproject.bench.processes import running
        words = [sys.executable, "-c", "import signal; signal.pause()"]
        with running(words, core=None) as it:
            print(it.popen.pid, flush=True)
            sys.stdin.readline()
            os.kill(os.getpid(), signal.SIGKILL)
    """
    with subprocess.Popen(
        python(benchmark), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as popen:
        child = psutil.Process(int(popen.stdout.readline()))
        popen.stdin.write(b"\n")

    assert gone(child)


def test_running_keeps_the_last_words():
    with running(python("raise SystemExit('no such port')"), core=None) as process:
        process.popen.wait()
        assert process.has_ended
        assert process.last_words() == "no such port"


def test_running_hides_the_variables_of_other_runs(monkeypatch):
    monkeypatch.setenv("BENCH_MIDDLEWARE", "default")
    source = "import os; print(os.environ.get('BENCH_MIDDLEWARE'), os.environ['NEW'])"

    with running(
        python(source), core=None, environment={"NEW": "1"}, talks=True
    ) as process:
        assert process.popen.stdout.read() == b"None 1\n"


def test_process_tells_the_memory_and_the_time_of_the_tree():
    with running(python(WITH_A_CHILD), core=None, talks=True) as process:
        child = psutil.Process(int(process.popen.stdout.readline()))
        own = psutil.Process(process.popen.pid).memory_info().rss

        assert process.memory() >= own + child.memory_info().rss / 2
        assert process.cpu() > 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_signals_leave_every_block(number):
    before = signal.getsignal(number)

    with pytest.raises(SystemExit), ends_on_signals():
        os.kill(os.getpid(), number)

    assert signal.getsignal(number) == before
