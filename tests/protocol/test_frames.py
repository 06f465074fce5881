"""Frames: any split gives the same, bounds hold exactly at the edge, memory and cost follow the bytes that came."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from poppo_ipc.errors import BadFrame, FrameTooLarge
from poppo_ipc.protocol import HEADER_BYTES, MAGIC, FrameDecoder, _frames, frame

from .helpers import SPLITS, cut, framed
from .work import CountedBytes, lines_run, peak_memory, time_ratio

LIMIT = 64
KIB = 1024
MIB = 1024 * KIB


def decode(pieces: list[bytes], limit: int = LIMIT) -> tuple[list[bytes], str, bool, int]:
    """All that can be seen of a decoder that was fed the pieces."""
    decoder = FrameDecoder()
    payloads: list[bytes] = []
    for piece in pieces:
        decoder.feed(piece)
        payloads += map(bytes, decoder.drain(limit))
    return payloads, repr(decoder.error), decoder.mid_frame, decoder.buffered_bytes


payloads_within = st.lists(st.binary(max_size=LIMIT), max_size=6)
tails = st.one_of(
    st.binary(max_size=24),
    st.builds(lambda payload, keep: framed(payload)[:keep], st.binary(max_size=LIMIT), st.integers(0, 70)),
    st.integers(0, 2**32 - 1).map(lambda length: MAGIC + length.to_bytes(4, "big")),
    st.integers(0, 4).map(lambda good: MAGIC[:good] + b"x"),
)


def test_a_frame_is_magic_length_and_payload() -> None:
    assert (MAGIC, HEADER_BYTES) == (b"POPPO", 9)
    assert frame(b'{"a":1}') == b'POPPO\x00\x00\x00\x07{"a":1}'
    assert frame(bytes(0x010203)) == b"POPPO\x00\x01\x02\x03" + bytes(0x010203)


@given(payloads_within, st.lists(st.integers(0, 10_000), max_size=30))
def test_round_trip_in_any_split(payloads: list[bytes], places: list[int]) -> None:
    stream = b"".join(map(frame, payloads))
    assert decode(list(cut(stream, places))) == (payloads, "None", False, 0)


@given(payloads_within, tails, st.lists(st.integers(0, 10_000), max_size=30))
@example([b"x"], b"POPPX", [])
@example([], MAGIC + (LIMIT + 1).to_bytes(4, "big"), [])
def test_any_split_is_as_good_as_the_whole_of_any_stream(payloads: list[bytes], tail: bytes, places: list[int]) -> None:
    stream = b"".join(map(framed, payloads)) + tail
    whole = decode([stream])
    assert whole[0][: len(payloads)] == payloads
    assert decode(list(cut(stream, places))) == whole
    assert decode(SPLITS["bytes"](stream)) == whole


@given(payloads_within, tails, st.lists(st.integers(0, 10_000), max_size=10), st.integers(1, 4), st.booleans())
def test_at_most_leaves_the_rest_for_later(
    payloads: list[bytes], tail: bytes, places: list[int], at_most: int, feed_first: bool
) -> None:
    """Whether pieces are fed before those before them are drained, or not."""
    stream = b"".join(map(framed, payloads)) + tail
    decoder = FrameDecoder()
    got: list[bytes] = []
    for piece in cut(stream, places):
        decoder.feed(piece)
        if feed_first:
            continue
        while part := decoder.drain(LIMIT, at_most):
            assert len(part) <= at_most
            got += map(bytes, part)
    while part := decoder.drain(LIMIT, at_most):
        assert len(part) <= at_most
        got += map(bytes, part)
    assert (got, repr(decoder.error), decoder.mid_frame, decoder.buffered_bytes) == decode([stream])


@pytest.mark.parametrize("split", SPLITS)
def test_the_limit_holds_exactly_at_the_edge_and_for_the_header_alone(split: str) -> None:
    at = SPLITS[split](framed(bytes(LIMIT)))
    assert decode(at) == ([bytes(LIMIT)], "None", False, 0)
    over = MAGIC + (LIMIT + 1).to_bytes(4, "big")
    payloads, error, mid_frame, buffered = decode(SPLITS[split](over))
    assert (payloads, mid_frame, buffered) == ([], False, 0)
    assert error == repr(FrameTooLarge(f"Frame of {LIMIT + 1} bytes is over the limit of {LIMIT} bytes"))
    assert decode(SPLITS[split](over[:-1]))[1] == "None"


def test_the_limit_is_the_one_that_holds_when_the_frame_begins() -> None:
    decoder = FrameDecoder()
    decoder.feed(framed(b"a" * 10) + framed(b"b" * 20))
    assert decoder.drain(10, at_most=1) == [b"a" * 10]
    assert decoder.error is None
    assert decoder.drain(20) == [b"b" * 20]


@pytest.mark.parametrize("split", SPLITS)
def test_an_empty_payload_comes_out_at_once(split: str) -> None:
    assert decode(SPLITS[split](framed(b""))) == ([b""], "None", False, 0)
    assert decode(SPLITS[split](framed(b"") * 3 + framed(b"x"))) == ([b"", b"", b"", b"x"], "None", False, 0)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("good", range(5))
def test_bad_magic_is_found_at_the_first_wrong_byte(good: int, split: str) -> None:
    before = framed(b"x")
    assert decode(SPLITS[split](before + MAGIC[:good]))[1] == "None"
    wrong = bytes([MAGIC[good] ^ 0x20])
    payloads, error, mid_frame, buffered = decode(SPLITS[split](before + MAGIC[:good] + wrong))
    assert error.startswith(BadFrame.__name__)
    assert (payloads, mid_frame, buffered) == ([b"x"], False, 0)
    assert decode(SPLITS[split](before + MAGIC[:good] + wrong + bytes(100)))[1] == error


@pytest.mark.parametrize("bad", [b"HTTP/1.1 200 OK\r\n", MAGIC + b"\xff\xff\xff\xff", b"PO\0"])
def test_an_error_is_latched_and_the_payloads_before_it_are_good(bad: bytes) -> None:
    decoder = FrameDecoder()
    decoder.feed(framed(b"1") + framed(b"2") + bad + framed(b"3"))
    assert decoder.drain(LIMIT) == [b"1", b"2"]
    error = decoder.error
    assert error is not None
    for _ in range(3):
        decoder.feed(framed(b"4"))
        assert decoder.drain(LIMIT) == []
        assert decoder.drain(2**32) == []
    assert decoder.error is error
    assert (decoder.mid_frame, decoder.buffered_bytes) == (False, 0)


def test_what_comes_after_an_error_is_not_kept() -> None:
    """It was: every piece was joined to all those before it, for as long as the peer wrote."""
    decoder = FrameDecoder()
    decoder.feed(b"not a frame")
    decoder.drain(LIMIT)
    piece = bytes(64 * KIB)

    def feed_more() -> None:
        for _ in range(16):
            decoder.feed(piece)

    assert peak_memory(feed_more) < 64 * KIB
    assert decoder.buffered_bytes == 0


@pytest.mark.parametrize(
    ("stream", "mid_frame", "buffered"),
    [
        (b"", False, 0),
        (b"P", True, 1),
        (MAGIC + b"\0\0\0", True, 8),
        (MAGIC + b"\0\0\0\x02", True, 0),
        (MAGIC + b"\0\0\0\x02a", True, 1),
        (MAGIC + b"\0\0\0\x02ab", False, 0),
        (MAGIC + b"\0\0\0\x02abP", True, 1),
    ],
)
@pytest.mark.parametrize("split", SPLITS)
def test_mid_frame_and_buffered_bytes_tell_what_is_held(
    stream: bytes, mid_frame: bool, buffered: int, split: str
) -> None:
    assert decode(SPLITS[split](stream))[2:] == (mid_frame, buffered)


# -- memory -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("announced", [16 * MIB, 2**32 - 1])
def test_a_length_alone_takes_no_memory(announced: int, split: str) -> None:
    header = MAGIC + announced.to_bytes(4, "big")
    for limit in (16 * MIB, 2**32 - 1):
        decoder = FrameDecoder()

        def take(decoder: FrameDecoder = decoder, limit: int = limit) -> None:
            for piece in SPLITS[split](header):
                decoder.feed(piece)
                assert decoder.drain(limit) == []

        assert peak_memory(take) < 16 * KIB
        assert decoder.buffered_bytes == 0
        assert (decoder.error is not None) == (announced > limit)


def test_memory_grows_with_the_bytes_that_came() -> None:
    decoder = FrameDecoder()
    pieces = [MAGIC + (16 * MIB).to_bytes(4, "big"), *[bytes(KIB)] * KIB]

    def take() -> None:
        for piece in pieces:
            decoder.feed(piece)
            assert decoder.drain(16 * MIB) == []

    assert peak_memory(take) < 4 * MIB
    assert decoder.buffered_bytes == MIB


# -- cost -------------------------------------------------------------------------------------------------------


def whole_stream(stream: bytes, piece: int, at_most: int = 0) -> int:
    """Decode a stream in pieces of one size; how many payloads it holds."""
    decoder = FrameDecoder()
    count = 0
    for start in range(0, len(stream), piece):
        decoder.feed(CountedBytes(stream[start : start + piece]))
        while part := decoder.drain(16 * MIB, at_most):
            count += len(part)
    return count


@pytest.mark.parametrize(
    ("payload", "piece", "at_most"),
    [(20, 1, 0), (20, 1, 1), (20, 1 << 30, 0), (20, 1 << 30, 1), (0, 13, 0), (2000, 64, 0)],
    ids=["bytewise", "bytewise, one at a time", "one piece", "one piece, one at a time", "empty", "small pieces"],
)
def test_cost_is_linear_in_the_bytes(payload: int, piece: int, at_most: int) -> None:
    work = []
    for frames in (100, 400):
        stream = framed(bytes(payload)) * frames
        CountedBytes.copied = 0
        counts: list[int] = []

        def run(stream: bytes = stream, counts: list[int] = counts) -> None:
            counts.append(whole_stream(stream, piece, at_most))

        lines = lines_run(_frames, run)
        assert counts == [frames]
        assert CountedBytes.copied <= 2 * len(stream)
        work.append(lines)
    assert work[1] < 4.1 * work[0]


def test_ten_thousand_frames_in_one_piece() -> None:
    payloads = [b"%d" % number for number in range(10_000)]
    decoder = FrameDecoder()
    decoder.feed(b"".join(map(framed, payloads)))
    assert decoder.drain(LIMIT) == payloads
    assert decoder.buffered_bytes == 0


def test_one_large_frame_in_small_pieces() -> None:
    stream = framed(bytes(range(256)) * (64 * KIB))
    decoder = FrameDecoder()
    payloads = []
    for start in range(0, len(stream), KIB):
        decoder.feed(stream[start : start + KIB])
        payloads += decoder.drain(16 * MIB)
    assert payloads == [stream[9:]]


def test_time_for_a_large_frame_in_small_pieces_is_linear() -> None:
    """The one cost that lines and slices do not show: how the body grows."""

    def run(size: int) -> None:
        assert whole_stream(framed(bytes(size)), KIB) == 1

    assert time_ratio(run, MIB) < 10
