"""What the part models hear of a sentence."""

from __future__ import annotations

import pytest

from distill3d.core.errors import UserError
from distill3d.run.parts_sentence import heard, heard_of_change
from distill3d.toybox.shapes.captions import vocabulary


@pytest.mark.parametrize(
    ("sentence", "words", "unknown"),
    [
        ("a chair with round arms and wheels", "a chair with round arms and wheels", ""),
        ("A Chair, with WHEELS!", "a chair with wheels", ""),
        ("chairs with a pedestal", "chair with a pedestal", ""),
        ("a velvet chair with my grandmother's wheels", "a chair with wheels", "velvet, my, grandmother's"),
        ("ein Stuhl, a lamp", "a lamp", "ein, stuhl"),
    ],
)
def test_known_words_are_heard_and_others_are_named(sentence, words, unknown):
    lines = []
    assert heard(sentence, vocabulary(), lines.append) == words.split()
    assert lines == ([f"words that the part models have never met, and will not hear: {unknown}"] if unknown else [])


@pytest.mark.parametrize(
    ("sentence", "words"),
    [
        ("it's the one with gaps in the back", "a chair with gaps in the back"),
        ("wheels", "a chair with wheels"),
        ("swept wings please", "a plane with swept wings"),
        ("a chair with no arms", "a chair with no arms"),
        ("the one with a pedestal", "the with a pedestal"),  # a chair's or a table's
        ("a chair with a pedestal", "a chair with a pedestal"),
    ],
)
def test_a_change_need_not_name_the_kind(sentence, words):
    assert heard_of_change(sentence, vocabulary(), lambda line: None) == words.split()


@pytest.mark.parametrize("sentence", ["a boat with sails", "the quick brown fox", "with", "42", "🪑"])
@pytest.mark.parametrize("listen", [heard, heard_of_change])
def test_other_things_are_refused_and_the_known_ones_said(sentence, listen):
    with pytest.raises(UserError, match=r"names no(thing| shape)") as caught:
        listen(sentence, vocabulary(), lambda line: None)
    for known in ("chair (no arms", "table (", "lamp (", "plane (straight wings", "gaps in the back"):
        assert known in str(caught.value)


def test_empty_long_and_double_sentences():
    for sentence, says in (
        (" ", "is empty"),
        ("a chair " * 100, "800 characters"),
        ("a chair on a table", "chair and table: one kind"),
        ("the one with wheels", "names no shape"),
    ):
        with pytest.raises(UserError, match=says):
            heard(sentence, vocabulary(), lambda line: None)


def test_models_of_other_words_are_asked_by_them():
    assert heard("a red boat", ("boat", "red"), lambda line: None) == ["red", "boat"]
    with pytest.raises(UserError, match="they know boat, red"):
        heard("a chair", ("boat", "red"), lambda line: None)
