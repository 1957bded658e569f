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


def test_draw_has_a_panel_for_each_case_and_each_series(tmp_path, monkeypatch):
    mpl = pytest.importorskip("matplotlib")
    monkeypatch.setitem(mpl.rcParams, "svg.fonttype", "none")
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
