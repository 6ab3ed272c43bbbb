"""Sentences about attributed shapes, there and back."""

import numpy as np
import pytest

from distill3d.core.errors import UserError
from distill3d.parts.words import words_of
from distill3d.toybox.shapes import KINDS, sample_shape
from distill3d.toybox.shapes.captions import caption, parse, random_caption, unknown_words, vocabulary


def test_a_caption_says_its_attributes_and_is_read_back():
    said = {"arms": "round", "legs": "wheels", "back": "gaps"}
    text = caption("chair", said)
    assert text == "a chair with round arms, wheels and gaps in the back"
    assert parse(text) == ("chair", said)
    assert parse(caption("chair", {})) == ("chair", {})


def test_every_value_of_every_kind_is_read_back_alone():
    for kind, known in KINDS.items():
        for name, values in known.attributes.items():
            for value in values:
                assert parse(caption(kind, {name: value})) == (kind, {name: value})


def test_random_captions_say_only_what_is_true_in_known_words():
    rng = np.random.default_rng(3)
    lengths = set()
    for _ in range(200):
        shape = sample_shape(rng)
        text = random_caption(rng, shape)
        kind, said = parse(text)
        assert kind == shape.kind
        assert said.items() <= shape.attributes.items()
        assert set(words_of(text)) <= set(vocabulary())
        lengths.add(len(said))
    assert lengths == {0, 1, 2, 3}


def test_words_that_no_caption_has_are_told():
    assert unknown_words("a velvet chair with round arms!") == ["velvet"]
    assert unknown_words("A Chair, with wheels") == []


def test_a_sentence_without_one_kind_is_refused():
    with pytest.raises(UserError, match="names no one kind"):
        parse("a purple elephant")
    with pytest.raises(UserError, match="names no one kind"):
        parse("a chair and a table")


def test_unknown_attributes_are_refused_by_name():
    rng = np.random.default_rng(0)
    with pytest.raises(UserError, match=r"kind 'chiar'.*chair"):
        sample_shape(rng, "chiar")
    with pytest.raises(UserError, match=r"no 'arm'.*arms"):
        sample_shape(rng, "chair", arm="round")
    with pytest.raises(UserError, match=r"cannot be 'rond'.*round"):
        sample_shape(rng, "chair", arms="rond")
