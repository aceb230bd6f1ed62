"""How long texts are cut: by characters or bytes, marked, with the reference whole, and never within a letter."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pagerduty_sync.domain.cases import Actor
from pagerduty_sync.domain.mapping import (
    CUT_MARK,
    NOTE_BYTES,
    cut_bytes,
    cut_characters,
    note_text,
    resolution_note_text,
)

JANE = Actor("user", "u-1", "Jane Doe")
MARKER = "[c-7f3a9b21]"
ACUTE = "\u0301"
FAMILY = "\U0001f469\u200d\U0001f469\u200d\U0001f467"


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("x" * NOTE_BYTES, id="one byte each"),
        pytest.param("é" * NOTE_BYTES, id="two bytes each"),
        pytest.param("😀" * NOTE_BYTES, id="four bytes each"),
        pytest.param(f"e{ACUTE}" * NOTE_BYTES, id="letters with accents of their own"),
        pytest.param("e" + ACUTE * NOTE_BYTES, id="one letter with more accents than there is room for"),
        pytest.param(FAMILY * 10_000, id="emoji joined of several"),
    ],
)
@pytest.mark.parametrize("write", [note_text, resolution_note_text])
def test_a_note_that_is_too_long_is_cut_and_keeps_its_mark_and_its_reference(write: object, text: str) -> None:
    note = write(JANE, "CASE-12", text, MARKER)  # type: ignore[operator]
    assert NOTE_BYTES - 130 < len(note.encode()) <= NOTE_BYTES
    assert note.endswith(MARKER) and "Jane Doe on CASE-12" in note
    assert "… [cut] " in note
    assert "\ufffd" not in note


def test_a_note_that_just_fits_is_not_cut() -> None:
    room = NOTE_BYTES - len(note_text(JANE, "CASE-12", "", MARKER).encode())
    assert CUT_MARK not in note_text(JANE, "CASE-12", "x" * room, MARKER)
    assert CUT_MARK in note_text(JANE, "CASE-12", "x" * (room + 1), MARKER)


def test_no_letter_is_parted_from_its_accent_and_no_emoji_from_its_parts() -> None:
    word = f"caf{'e' + ACUTE} and so on, for a while"
    assert cut_characters(word, 4 + len(CUT_MARK)) == f"caf{CUT_MARK}"
    assert cut_characters(word, 5 + len(CUT_MARK)) == f"cafe{ACUTE}{CUT_MARK}"
    assert cut_bytes(word, 5 + len(CUT_MARK.encode())) == f"caf{CUT_MARK}"
    for length in range(1, 5):
        assert cut_characters(f"a{FAMILY}, and more text", 1 + length + len(CUT_MARK)) == f"a{CUT_MARK}"
    assert cut_characters(f"a{FAMILY}, and more text", 6 + len(CUT_MARK)) == f"a{FAMILY}{CUT_MARK}"


TEXTS = st.text(st.sampled_from(["a", "é", "漢", "😀", ACUTE, "\u200d", "\ufe0f", " "]), max_size=80)


@given(TEXTS, st.integers(12, 60))
def test_any_text_is_within_its_limit_and_begins_as_it_did(text: str, limit: int) -> None:
    for cut, size in ((cut_characters(text, limit), len), (cut_bytes(text, limit), lambda one: len(one.encode()))):
        assert size(cut) <= limit
        if size(text) <= limit:
            assert cut == text
        else:
            assert cut.endswith(CUT_MARK) and text.startswith(cut.removesuffix(CUT_MARK))
