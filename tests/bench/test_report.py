"""The tables and the data of a run."""

from testproject.bench.cases import SERIES, Case, Contender
from testproject.bench.loads.wrk import Wrk
from testproject.bench.peers import BARE, DJANGO, OURS
from testproject.bench.report import case_data, heading, series_data, table
from testproject.bench.turns import Result

CASE = Case(
    name="hello",
    title="Hello",
    load=Wrk("/hello"),
    contenders=(Contender(OURS), Contender(DJANGO, "a pool"), Contender(BARE)),
)
RESULT = Result(
    turns={
        OURS.name: [{"rate": 1000, "cpu": 50}, {"rate": 3000, "cpu": 100}],
        f"{DJANGO.name}, a pool": [
            {"rate": 100, "cpu": 500},
            {"rate": 150, "cpu": 200},
        ],
    },
    errors={BARE.name: "not installed: uvicorn"},
)


def cells(line):
    return [each.strip() for each in line.strip("|").split("|")]


def test_table_shows_medians_spread_and_ratios():
    head, _, ours, django, bare = table("hello", case_data(CASE, RESULT)).split("\n")

    assert cells(head) == [
        "Hello (`hello`)",
        "requests per second",
        "ratio",
        "server CPU, µs each",
        "CPU ratio",
    ]
    assert cells(ours) == [OURS.name, "2,000 (1,000 to 3,000)", "", "75.0", ""]
    assert cells(django) == [
        f"{DJANGO.name}, a pool",
        "125 (100 to 150)",
        "15.00 (10.00 to 20.00)",
        "350.0",
        "6.00 (2.00 to 10.00)",
    ]
    assert cells(bare) == [BARE.name, "not installed: uvicorn", "", "", ""]


def test_table_is_aligned_markdown():
    lines = table("hello", case_data(CASE, RESULT)).split("\n")

    assert {len(line) for line in lines} == {len(lines[0])}
    assert set(lines[1]) == set("|-: ")


def test_case_data_keeps_every_figure_and_error():
    kept = case_data(CASE, RESULT)

    assert kept["primary"] == "rate"
    assert kept["peers"][OURS.name]["turns"][1] == {"rate": 3000, "cpu": 100}
    assert kept["peers"][BARE.name] == {"turns": [], "error": "not installed: uvicorn"}


def test_table_says_so_when_a_peer_failed_after_some_turns():
    result = Result(
        turns={OURS.name: [{"rate": 10.0}, None]}, errors={OURS.name: "gone\nlog"}
    )

    assert "10 (10 to 10), then failed" in table("hello", case_data(CASE, result))


def test_series_data_has_only_points_that_were_measured():
    series = SERIES["growth.routes"]
    done = [series.cases[10].name, series.cases[1000].name]

    found = series_data(SERIES.values(), done)

    assert list(found) == ["growth.routes"]
    assert found["growth.routes"]["axis"] == "routes"
    assert found["growth.routes"]["cases"] == {"10": done[0], "1000": done[1]}


def test_heading_says_when_where_and_how():
    run = {
        "machine": {
            "date": "2026-01-02",
            "machine": "a machine",
            "cores": {"server": 0, "load": 1},
            "load average": [0.1, 0.2, 0.3],
            "versions": {"django": "6.1"},
        },
        "options": {"repeat": 5, "seconds": 4.0},
    }

    said = heading(run)

    for part in (
        "2026-01-02",
        "a machine",
        "servers on core 0",
        "django 6.1",
        "5 turns",
    ):
        assert part in said
