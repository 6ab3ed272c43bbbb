"""Instructions: one change and nothing else, in words that the model's tokenizer knows; pairs of pictures of them."""

from collections import Counter

import numpy as np
import pytest
import torch

from distill3d.core.errors import UserError
from distill3d.toybox.captions import VOCABULARY, Description, Item
from distill3d.toybox.edit_pairs import make_pairs, pair_stream
from distill3d.toybox.heldout import held_out
from distill3d.toybox.instructions import (
    KINDS,
    PARTS,
    left_alone,
    recolored,
    remade,
    repainted,
    sample_instruction,
    turned_into,
    words,
)
from distill3d.toybox.model import END, PAD, UNKNOWN, make_tokenizer
from distill3d.toybox.palette import PALETTE
from distill3d.toybox.world import make_toy, sample_toy


def toy(category="mushroom", color="red", material="plain", seed=4):
    return make_toy(Description(Item(category, color, material)), seed)


def places(shown):
    return [(p.name, p.shape, p.size, p.center) for p in shown.parts]


def test_a_colour_changes_the_parts_of_the_main_colour_alone():
    edit = recolored(toy(), "blue")
    assert edit.wordings[0] == "make it blue"
    assert "make it a blue mushroom" in edit.wordings
    assert places(edit.after) == places(edit.before)
    changed = {b.name for b, a in zip(edit.before.parts, edit.after.parts, strict=True) if b.color != a.color}
    assert "cap" in changed
    assert "stem" not in changed


def test_a_material_keeps_the_shape_and_is_refused_where_it_would_not():
    edit = remade(toy("chair", "blue"), "wooden")
    assert places(edit.after) == places(edit.before)
    assert {p.material for p in edit.before.parts} == {"plain"}
    assert "wooden" in {p.material for p in edit.after.parts}
    assert edit.after.color == "brown"  # wood without a colour
    with pytest.raises(UserError, match="does not come striped"):
        remade(toy("chair", "blue"), "striped")
    with pytest.raises(UserError, match="has another shape"):
        remade(toy("mushroom", "red", seed=2), "wooden")


def test_one_part_is_painted():
    edit = repainted(toy("snowman", "white", seed=0), "hat", "red")
    red = {p.name for p in edit.after.parts if p.color == PALETTE["red"]}
    assert "hat" in red
    assert "belly" not in red
    assert edit.wordings[0] == "make the hat red"
    with pytest.raises(UserError, match="a snowman has no wheel"):
        repainted(toy("snowman", "white", seed=0), "wheel", "red")


def test_another_kind_keeps_the_colour():
    edit = turned_into(toy("cube", "blue", "striped"), "cone")
    assert (edit.after.category, edit.after.color, edit.after.material) == ("cone", "blue", "striped")
    assert edit.wordings[0] == "turn it into a cone"
    assert turned_into(toy("cube", "blue", "striped"), "donut").after.material == "plain"  # it comes in no stripes


def test_of_a_pair_only_the_first_object_changes():
    rng = np.random.default_rng(0)
    pair = sample_toy(rng, relation_rate=1.0)
    edit = recolored(pair, "purple")
    assert all(pair.category in wording for wording in edit.wordings)  # "it" would be both
    assert places(edit.after) == places(edit.before)
    other = [(b, a) for b, a in zip(edit.before.parts, edit.after.parts, strict=True)
             if b.name.startswith(f"{pair.others[0][0]}: ") and pair.others[0][0] != pair.category]  # fmt: skip
    assert all(b.color == a.color for b, a in other)


def test_sampled_instructions_are_of_all_kinds_and_show_no_held_out_pair():
    rng = np.random.default_rng(1)
    edits = [sample_instruction(rng, sample_toy(rng)) for _ in range(300)]
    kinds = Counter(e.kind for e in edits)
    assert set(kinds) == set(KINDS)
    assert kinds["color"] == max(kinds.values())
    assert not [e for e in edits if (e.after.color, e.after.category) in held_out()]
    free = [sample_instruction(rng, sample_toy(rng, split="all"), "all") for _ in range(300)]
    assert [e for e in free if (e.after.color, e.after.category) in held_out()]  # the check above can fail


def test_the_tokenizer_knows_every_word_with_room_to_spare():
    tokenizer = make_tokenizer(16, (PAD, UNKNOWN, END, *VOCABULARY, *words()))
    captions_only = make_tokenizer(16)
    rng = np.random.default_rng(2)
    said = {w for _ in range(150) for w in sample_instruction(rng, sample_toy(rng)).wordings}
    said |= set(left_alone(toy()).wordings) | {f"make the {part} blue" for part in PARTS}
    for wording in said:
        ids = tokenizer(wording).input_ids
        assert tokenizer.unk_token_id not in ids, wording
        assert len(ids) <= 16
    assert tokenizer.unk_token_id in captions_only("make it blue").input_ids
    assert len(set(words())) == len(words())
    assert not set(words()) & set(VOCABULARY)


def test_pairs_are_the_same_picture_but_for_the_change():
    batch = make_pairs(3, 0, 24, 32)
    again = make_pairs(3, 0, 24, 32)
    assert torch.equal(batch.before, again.before)
    assert torch.equal(batch.after, again.after)
    assert batch.instructions == again.instructions
    assert not torch.equal(batch.before, make_pairs(3, 1, 24, 32).before)
    for i, edit in enumerate(batch.edits):
        same_outline = torch.equal(batch.before[i, ..., 3], batch.after[i, ..., 3])
        assert same_outline or edit.kind == "category"
        assert edit.kind != "nothing" or torch.equal(batch.before[i], batch.after[i])
    colors = [i for i, e in enumerate(batch.edits) if e.kind == "color" and e.before.color != e.after.color]
    assert all(not torch.equal(batch.before[i], batch.after[i]) for i in colors)
    (streamed,) = pair_stream(3, 0, 1, 24, 32, 0)
    assert torch.equal(streamed.after, batch.after)
