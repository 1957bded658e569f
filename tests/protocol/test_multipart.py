"""The edges of a multipart body, by bytes, however the chunks are cut."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_asgi_bridge.protocol.multipart import FormEdges

BOUNDARY = b"limit"
PART = b"--limit\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n"
LIMIT = 10


def refused_at(body, cuts=()):
    """Return how many bytes had been looked at when the body was refused, if it was."""
    edges = FormEdges(BOUNDARY, limit=LIMIT)
    places = sorted({0, *(cut for cut in cuts if cut < len(body)), len(body)})
    for low, high in itertools.pairwise(places):
        if edges.excess(body[low:high]) is not None:
            return high
    return None


def every_byte(body):
    return range(len(body))


@pytest.mark.parametrize(
    "body",
    [
        PART + b"--limit--\r\n",
        PART * 3 + b"--limit--",
        b"p" * LIMIT + PART + b"--limit--" + b"e" * LIMIT,
        b"--limit--" + b"e" * LIMIT,
        PART + b"x" * 1000,
        b"",
        PART + b"--limit-" + b"x" * 1000 + b"--limit--\r\n",
    ],
    ids=["form", "three parts", "edges", "no part", "no end", "empty", "nearly an end"],
)
def test_edges_let_a_form_pass_when_they_are_short(body):
    """At the limit is within it, whole and byte by byte."""
    assert refused_at(body) is None
    assert refused_at(body, every_byte(body)) is None


def test_edges_refuse_a_preamble_above_the_limit():
    """A byte more is too many, and known when a delimiter can no longer begin there."""
    body = b"p" * (LIMIT + 1) + PART + b"--limit--"

    assert refused_at(body) == len(body)
    assert refused_at(body, every_byte(body)) == LIMIT + len(b"--limit")


def test_edges_refuse_an_epilogue_above_the_limit():
    """A byte more is too many, the line end after the last delimiter included."""
    body = PART + b"--limit--" + b"e" * (LIMIT + 5)

    assert refused_at(body) == len(body)
    assert refused_at(body, every_byte(body)) == len(PART) + len(b"--limit--") + 11


def test_edges_refuse_a_body_without_a_delimiter():
    """It is all preamble."""
    assert refused_at(b"x" * 100) == 100


def test_edges_say_which_one_is_too_long():
    """The refusal names the place and the limit."""
    preamble = FormEdges(BOUNDARY, limit=LIMIT).excess(b"p" * 100)
    epilogue = FormEdges(BOUNDARY, limit=LIMIT).excess(b"--limit--" + b"e" * 100)

    assert preamble is not None
    assert "preamble" in preamble
    assert epilogue is not None
    assert "epilogue" in epilogue


@given(
    before=st.integers(0, 30),
    after=st.integers(0, 30),
    cuts=st.sets(st.integers(0, 200)),
)
@settings(deadline=None)
def test_edges_decide_the_same_however_the_chunks_are_cut(before, after, cuts):
    """What is refused depends on the bytes alone."""
    body = b"p" * before + PART + b"--limit--" + b"-" * after

    is_refused = refused_at(body, cuts) is not None

    assert is_refused == (before > LIMIT or after > LIMIT)


@pytest.mark.parametrize("noise", [b"", b"dary--" * 20, b"y-of-a-boundary--"])
def test_edges_find_the_last_delimiter_among_ends_of_it(noise):
    """What looks like its end alone does not hide it, and is not taken for it."""
    boundary = b"the-long-body-of-a-boundary"
    first, last = b"--" + boundary, b"--" + boundary + b"--"

    inside = FormEdges(boundary, limit=LIMIT)
    over = FormEdges(boundary, limit=LIMIT)

    assert inside.excess(first + noise + b"x" * 100) is None
    assert over.excess(first + noise + last + noise + b"e" * 100) is not None
