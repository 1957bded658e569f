"""The page of results: it is what the kept runs say."""

import re

import pytest

from testproject.bench import page as module
from testproject.bench.cases import CASES, SERIES
from testproject.bench.kept import FOLDER, merged, published
from testproject.bench.page import PAGE, PICTURES, SECTIONS, page, part
from testproject.bench.picture import draw

MAX_PICTURE_BYTES = 64_000
MAX_RUN_BYTES = 64_000


def test_page_is_what_the_kept_runs_say():
    """`python -m testproject.bench.page` would write the page as it is."""
    text = PAGE.read_text("utf-8")

    assert page(text, published()) == text


@pytest.mark.parametrize("name", PICTURES)
def test_picture_is_what_the_kept_runs_say(name, tmp_path):
    """The same, where the version of matplotlib is the one that drew it."""
    mpl = pytest.importorskip("matplotlib")
    kept = (FOLDER / name).read_text("utf-8")
    if f"Matplotlib v{mpl.__version__}," not in kept:
        pytest.skip("another matplotlib draws otherwise")

    draw(part(merged(list(published().values())), PICTURES[name]), tmp_path / name)

    assert (tmp_path / name).read_text("utf-8") == kept


def test_page_shows_every_picture():
    text = PAGE.read_text("utf-8")

    assert set(re.findall(r"\]\(measured/(.*\.svg)\)", text)) == set(PICTURES)


def test_what_is_kept_is_small():
    for path in FOLDER.iterdir():
        most = MAX_PICTURE_BYTES if path.suffix == ".svg" else MAX_RUN_BYTES
        assert path.stat().st_size <= most, path.name


def test_every_kept_case_has_its_place():
    """Each is in a section, or a point of a series."""
    words = [word for words in SECTIONS.values() for word in words]
    grown = {case.name for each in SERIES.values() for case in each.cases.values()}

    assert len(set(words)) == len(words)
    assert set(merged(list(published().values()))["cases"]) <= set(CASES)
    for name in CASES:
        assert (name.partition(".")[0] in words) is (name not in grown), name


def test_pictures_are_of_cases_and_series_that_there_are():
    shown = [name for names in PICTURES.values() for name in names]

    for name in shown:
        assert name in CASES or any(each.startswith(name) for each in SERIES), name
    assert all(each.startswith(tuple(shown)) for each in SERIES)


def test_page_is_refused_when_a_mark_is_gone():
    text = PAGE.read_text("utf-8")
    changed = text.replace("<!-- Until here: queries -->", "")

    with pytest.raises(LookupError, match="the page has the blocks"):
        page(changed, published())


def test_main_writes_the_page_and_the_pictures(tmp_path, monkeypatch):
    copy = tmp_path / "page.md"
    text = PAGE.read_text("utf-8")
    copy.write_text(text.replace("| yes |", "| no? |"), encoding="utf-8")
    drawn = []
    monkeypatch.setattr(module, "PAGE", copy)
    monkeypatch.setattr(module, "draw", lambda run, path: drawn.append(path))

    module.main()

    assert copy.read_text("utf-8") == text
    assert drawn == [FOLDER / name for name in PICTURES]
