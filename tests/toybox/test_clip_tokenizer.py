"""The miniature's tokenizer: every word of the toybox is one piece, any other text is taken apart."""

from __future__ import annotations

import pytest
from transformers import CLIPTokenizer

from distill3d.toybox.captions import VOCABULARY
from distill3d.toybox.clip_tokenizer import END, START, learn_merges, make_clip_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return make_clip_tokenizer(24)


def test_every_word_is_one_piece_and_a_stranger_is_several(tokenizer):
    words = [word for word in VOCABULARY if word.isalpha()]
    assert len(words) > 100
    assert [word for word in words if tokenizer.tokenize(word) != [f"{word}</w>"]] == []
    pieces = tokenizer.tokenize("xylophone")
    assert len(pieces) > 1
    assert "".join(pieces) == "xylophone</w>"


def test_texts_are_framed_and_padded_as_clip_frames_them(tokenizer):
    ids = tokenizer("A red mushroom, front view", padding="max_length", max_length=24).input_ids
    tokens = tokenizer.convert_ids_to_tokens(ids)
    assert tokens[0] == START
    assert tokens[1:7] == ["a</w>", "red</w>", "mushroom</w>", ",</w>", "front</w>", "view</w>"]
    assert tokens[7:] == [END] * 17


def test_it_is_the_same_from_a_folder(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    opened = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("a striped blue christmas tree, overhead view", "zebra"):
        assert opened(text).input_ids == tokenizer(text).input_ids
    assert opened("zebra").input_ids != opened("zebras").input_ids


def test_merges_join_the_most_frequent_pair_first():
    assert learn_merges(("aba", "abc")) == [("a", "b"), ("ab", "a</w>"), ("ab", "c</w>")]
