"""Cases that run, on the quickest peer and on this package."""

import json
import shutil

import pytest

from testproject.bench import __main__ as bench

pytestmark = pytest.mark.servers

pytest.importorskip("uvicorn")
psutil = pytest.importorskip("psutil")


@pytest.fixture(autouse=True)
def one_turn(monkeypatch):
    """This process is not moved to a core, and leaves no child."""
    monkeypatch.setattr(bench, "pin_this_process", lambda: None)
    yield
    assert not psutil.Process().children(recursive=True)


def run(tmp_path, *words):
    """Return the figures of a short run, by case and peer."""
    kept = tmp_path / "run.json"
    status = bench.main(
        [*words, "--repeat", "1", "--seconds", "0.2", "--json", str(kept)]
    )
    figures = json.loads(kept.read_text())
    assert status == 0, figures
    return {
        name: {label: peer["turns"][0] for label, peer in case["peers"].items()}
        for name, case in figures["cases"].items()
    }


def test_http_case_runs(tmp_path, capsys):
    if not shutil.which("wrk"):
        pytest.skip("wrk is not installed")

    figures = run(tmp_path, "hello.async", "--peer", "bare")

    ((label, measured),) = figures["hello.async"].items()
    assert measured["rate"] > 0
    assert measured["cpu"] > 0
    assert f"| {label}" in capsys.readouterr().out


def test_echo_case_runs(tmp_path):
    figures = run(tmp_path, "echo.async", "--peer", "django_asgi_bridge on uvicorn")

    (measured,) = figures["echo.async"].values()
    assert measured["rate"] > 0
    assert 0 < measured["load"] <= 110


def test_fan_out_case_runs_with_and_without_handlers(tmp_path):
    """The same sockets; every message reaches each of them, to the byte."""
    figures = run(tmp_path, "growth.members.10", "--peer", "django_asgi_bridge")

    assert len(figures["growth.members.10"]) == 2
    for measured in figures["growth.members.10"].values():
        assert measured["rate"] > 0


def test_connect_case_runs(tmp_path):
    figures = run(tmp_path, "connect", "--peer", "bare")

    (measured,) = figures["connect"].values()
    assert measured["rate"] > 0


def test_start_case_runs(tmp_path):
    figures = run(tmp_path, "start", "--peer", "bare")

    (measured,) = figures["start"].values()
    assert measured["start"] > 0
    assert measured["memory"] > 1


def test_upload_case_runs_on_this_package(tmp_path):
    figures = run(tmp_path, "upload", "--peer", "django_asgi_bridge on uvicorn")

    (measured,) = figures["upload"].values()
    assert measured["rate"] > 0


def test_run_that_was_kept_is_shown_again(tmp_path, capsys):
    run(tmp_path, "start", "--peer", "bare")
    first = capsys.readouterr().out

    bench.main(["--read", str(tmp_path / "run.json")])

    assert capsys.readouterr().out == first
