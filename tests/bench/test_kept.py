"""Runs that are kept: written, read, and put together."""

import json

import pytest

from testproject.bench import __main__ as bench
from testproject.bench.kept import Unlike, command, merged, read, written
from testproject.bench.turns import Result

MACHINE = {
    "date": "2026-01-02 10:00",
    "machine": "a machine",
    "cores": {"server": 0, "load": 1},
    "load average": [0.1, 0.2, 0.3],
    "versions": {"python": "3.13.0", "django": "6.1"},
}


def a_run(*cases, machine=MACHINE, repeat=3, series=None):
    """Return a run as it is kept."""
    return {
        "machine": machine,
        "options": {"repeat": repeat, "seconds": 1.5},
        "cases": {
            name: {
                "title": f"Title of {name}",
                "unit": "requests",
                "primary": "rate",
                "peers": {
                    "django_asgi_bridge": {
                        "turns": [{"rate": 10.0}, None],
                        "error": "gone {\n  [twice]",
                    }
                },
            }
            for name in cases
        },
        "series": series or {},
    }


@pytest.fixture
def keep(tmp_path):
    """Keep runs in files; return their paths."""

    def keep(**runs):
        paths = [tmp_path / f"{name}.json" for name in runs]
        for path, run in zip(paths, runs.values(), strict=True):
            path.write_text(written(run), encoding="utf-8")
        return paths

    return keep


def test_written_run_is_json_with_a_line_for_each_turn():
    run = a_run("hello", "echo")

    text = written(run)

    assert json.loads(text) == run
    assert text.count('\n      {"rate": 10.0},\n') == 2


def test_read_gives_runs_by_their_files(keep):
    one, two = a_run("hello"), a_run("echo", repeat=5)

    assert read(keep(one=one, two=two)) == {"one.json": one, "two.json": two}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"machine": "another"}, "machine 'another', and 'a machine'"),
        ({"cores": {"server": None, "load": None}}, "cores"),
        ({"versions": {"python": "3.13.0"}}, "django None, and 6.1"),
    ],
)
def test_read_refuses_runs_of_several_machines_or_versions(keep, change, message):
    paths = keep(one=a_run("hello"), two=a_run("echo", machine=MACHINE | change))

    with pytest.raises(Unlike, match=r"two\.json and one\.json differ: ") as raised:
        read(paths)

    assert message in str(raised.value)


def test_read_takes_runs_of_several_times(keep):
    later = MACHINE | {"date": "2026-01-02 11:00", "load average": [9.0, 9.0, 9.0]}

    assert len(read(keep(one=a_run("hello"), two=a_run("echo", machine=later)))) == 2


def test_read_refuses_a_case_that_was_measured_twice(keep):
    paths = keep(one=a_run("hello"), two=a_run("echo", "hello"))

    with pytest.raises(Unlike, match=r"hello is in one\.json and in two\.json"):
        read(paths)


def test_merged_run_has_all_cases_each_with_its_options():
    later = MACHINE | {"date": "2026-01-02 11:00"}

    run = merged([a_run("hello", machine=later), a_run("echo", repeat=5)])

    assert {name: case["options"]["repeat"] for name, case in run["cases"].items()} == {
        "hello": 3,
        "echo": 5,
    }
    assert run["machine"]["date"] == "2026-01-02 10:00 to 2026-01-02 11:00"


def test_merged_run_has_the_points_of_a_series_in_their_order():
    def part(*amounts):
        points = {amount: f"growth.{amount}" for amount in amounts}
        series = {"growth": {"title": "t", "axis": "a", "cases": points}}
        return a_run(*points.values(), series=series)

    run = merged([part("100", "1000"), part("5", "20")])

    assert list(run["series"]["growth"]["cases"]) == ["5", "20", "100", "1000"]


def test_command_has_the_words_that_a_shell_understands():
    options = {
        "repeat": 3,
        "seconds": 2.0,
        "words": ["fan-out.*"],
        "peers": ["Django's"],
    }

    assert command("some.json", options) == (
        "python -m testproject.bench 'fan-out.*' --peer 'Django'\"'\"'s' "
        "--repeat 3 --seconds 2 --json docs/explanation/measured/some.json"
    )


def test_command_names_the_cases_when_the_words_are_not_known():
    options = {"repeat": 1, "seconds": 1.5}

    assert " hello echo --repeat" in command("some.json", options, ["hello", "echo"])


def test_bench_shows_several_runs_that_were_kept(keep, capsys):
    paths = keep(one=a_run("hello"), two=a_run("echo", repeat=5))

    bench.main(["--read", *map(str, paths)])

    shown = capsys.readouterr().out
    for text in ("(`hello`)", "3 turns", "(`echo`)", "5 turns"):
        assert text in shown


def test_bench_refuses_runs_of_several_machines(keep, capsys):
    other = MACHINE | {"machine": "another"}
    paths = keep(one=a_run("hello"), two=a_run("echo", machine=other))

    with pytest.raises(SystemExit):
        bench.main(["--read", *map(str, paths)])

    assert "two.json and one.json differ" in capsys.readouterr().err


def test_run_that_is_broken_off_keeps_the_points_of_a_series_that_it_has(
    tmp_path, monkeypatch
):
    """Nothing names a case that is not in the file."""
    kept = tmp_path / "run.json"

    def run_case(case, *args, **options):
        if kept.exists():
            raise KeyboardInterrupt
        return Result()

    monkeypatch.setattr(bench, "pin_this_process", lambda: None)
    monkeypatch.setattr(bench, "run_case", run_case)

    with pytest.raises(KeyboardInterrupt):
        bench.main(["growth.routes", "--peer", "Django", "--json", str(kept)])

    run = json.loads(kept.read_text("utf-8"))
    assert run["series"]["growth.routes"]["cases"] == {"10": "growth.routes.10"}
    assert list(run["cases"]) == ["growth.routes.10"]
    assert run["options"]["words"] == ["growth.routes"]
    assert run["options"]["peers"] == ["Django"]
