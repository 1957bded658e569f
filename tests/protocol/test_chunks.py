"""Bytes in chunks: what comes out is what went in, however it was cut."""

from hypothesis import given
from hypothesis import strategies as st

from django_asgi_bridge.protocol.chunks import Chunks

SIZES = st.sampled_from([0, 1, 3, 4095, 4096, 4097, 10_000])
PUTS = st.builds(lambda fill, size: fill * size, st.sampled_from([b"x", b"\n"]), SIZES)
STEPS = st.lists(st.one_of(PUTS, SIZES), max_size=30)


@given(steps=STEPS, first=PUTS)
def test_chunks_are_one_string_when_they_are_taken(steps, first):
    """A number takes so many bytes, what is no number is put in."""
    held, expected = Chunks(first), first
    for step in steps:
        if isinstance(step, bytes):
            held.put(step)
            expected += step
        else:
            taken = held.take(step)
            assert type(taken) is bytes
            assert taken == expected[:step]
            expected = expected[step:]
        assert len(held) == len(expected)
        assert held.line_end() == expected.find(b"\n") + 1


@given(lines=st.lists(PUTS, max_size=6), start=SIZES, taken=SIZES)
def test_line_end_is_found_behind_what_was_searched(lines, start, taken):
    held = Chunks()
    for line in lines:
        held.put(line)
    held.take(taken)

    expected = b"".join(lines)[taken:].find(b"\n", start) + 1

    assert held.line_end(start) == expected


def test_chunks_do_not_change_when_the_server_changes_its_buffer():
    """Whatever its size: a buffer that is filled again is not ours."""
    for size in (10, 10_000):
        buffer = bytearray(b"a" * size)
        held = Chunks()
        held.put(buffer)
        buffer[:] = b"b" * size

        assert held.take(size) == b"a" * size


def test_small_chunks_are_put_together():
    """An object for each would cost many times their bytes."""
    held = Chunks()
    for _ in range(65536):
        held.put(b"ab")

    assert len(held._chunks) <= 2 * 65536 // 4096


def test_long_chunk_is_given_out_as_it_came():
    """No copy is made of one that is taken whole."""
    chunk = b"x" * 65536
    held = Chunks()
    held.put(chunk)

    assert held.take(65536) is chunk


def test_nothing_is_left_when_chunks_are_cleared():
    held = Chunks(b"one\n")
    held.put(b"two\n" * 5000)
    held.take(2)
    held.clear()
    held.put(b"three")

    assert len(held) == 5
    assert held.line_end() == 0
    assert held.take(100) == b"three"
