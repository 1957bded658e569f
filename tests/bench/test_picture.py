"""The picture of a run."""

import pytest

from testproject.bench.picture import draw

RUN = {
    "machine": {"date": "2026-01-02", "machine": "a machine"},
    "cases": {
        "hello": {
            "title": "Hello",
            "unit": "requests",
            "primary": "rate",
            "peers": {
                "django_asgi_bridge": {"turns": [{"rate": 9.0}, {"rate": 11.0}]},
                "somebody else": {"turns": [None]},
            },
        },
        **{
            f"growth.{amount}": {
                "title": f"{amount} routes",
                "unit": "requests",
                "primary": "cpu",
                "peers": {"Channels": {"turns": [{"cpu": amount * 1.0}]}},
            }
            for amount in (1, 10)
        },
    },
    "series": {
        "growth": {
            "title": "Many routes",
            "axis": "routes",
            "cases": {"1": "growth.1", "10": "growth.10"},
        }
    },
}


def test_draw_has_a_panel_for_each_case_and_each_series(tmp_path):
    pytest.importorskip("matplotlib")
    path = tmp_path / "run.svg"

    draw(RUN, path)

    drawn = path.read_text()
    for text in ("Hello", "Many routes", "routes", "django_asgi_bridge", "Channels"):
        assert f">{text}<" in drawn
    assert "10 routes" not in drawn
    assert "somebody else" not in drawn


def test_draw_gives_the_same_file_for_the_same_run(tmp_path):
    pytest.importorskip("matplotlib")

    draw(RUN, tmp_path / "one.svg")
    draw(RUN, tmp_path / "two.svg")

    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()


def test_draw_shows_how_proportion_and_a_straight_line_would_look(tmp_path):
    """The one where there is some of it at first, the other where there is none."""
    pytest.importorskip("matplotlib")
    amounts = (0, 5, 20)
    cases = {
        str(amount): {
            "title": "Hello",
            "unit": "requests",
            "primary": "rate",
            "peers": {"Channels": {"turns": [{"rate": 1.0, "cpu": 9.0 + amount}]}},
        }
        for amount in amounts
    }
    series = {"title": "Hello", "axis": "more", "cases": {each: each for each in cases}}
    none = {**RUN, "cases": cases, "series": {"it": series}}

    draw(RUN, tmp_path / "some.svg")
    draw(none, tmp_path / "none.svg")

    some, straight = (
        (tmp_path / name).read_text("utf-8") for name in ("some.svg", "none.svg")
    )
    assert ">in proportion to their number<" in some
    assert ">in proportion to their number<" not in straight
    assert "stroke-dasharray" in straight


def test_draw_breaks_a_label_that_is_long(tmp_path):
    pytest.importorskip("matplotlib")
    label = "django_asgi_bridge on uvicorn, CONN_MAX_AGE=60"
    case = {**RUN["cases"]["hello"], "peers": {label: {"turns": [{"rate": 1.0}]}}}

    draw({**RUN, "cases": {"it": case}, "series": {}}, tmp_path / "it.svg")

    drawn = (tmp_path / "it.svg").read_text("utf-8")
    assert "django_asgi_bridge on uvicorn,<" in drawn
    assert "CONN_MAX_AGE=60<" in drawn
