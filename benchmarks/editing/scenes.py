"""Twenty-four edits of toybox scenes, six of each kind: what a scene is, and what it should become.

An edit can only ask for what the prior can draw, of a scene that is told as what it is. So there are no dots and no
checks, which the embedded prior draws as blotches (`distill3d image generate "a dotted purple cone" --n 8`), no
lighthouse, which its card says it draws as a party hat, and no ice cream, of which splats are told as a tree.
"""

from __future__ import annotations

from dataclasses import dataclass

from distill3d.toybox.captions import article
from distill3d.toybox.verdict import asked

KINDS = ("colour", "colour of a part", "material", "shape of a part")


@dataclass(frozen=True)
class Pair:
    """What a scene is, what it should become, of which kind the edit is, and the region it is held to."""

    kind: str
    before: str
    after: str
    region: str | None = None

    @property
    def name(self) -> str:
        return f"{self.before} to {self.after}".replace(" ", "-")

    @property
    def instruction(self) -> str:
        """What is asked for, in one instruction."""
        was, item = asked(self.before), asked(self.after)
        if item.category != was.category:
            return f"turn it into {article(item.category)} {item.category}"
        return f"make it {item.material if item.material != was.material else item.color}"


def above(height: float) -> str:
    return f"box:-1,-1,{height:g},1,1,1"


def below(height: float) -> str:
    return f"box:-1,-1,-1,1,1,{height:g}"


PAIRS = (
    Pair("colour", "a red cube", "a blue cube"),
    Pair("colour", "a blue car", "a yellow car"),
    Pair("colour", "a white mug", "a green mug"),
    Pair("colour", "a yellow duck", "a pink duck"),
    Pair("colour", "a red airplane", "a blue airplane"),
    Pair("colour", "a green cactus", "a pink cactus"),
    Pair("colour of a part", "a red mushroom", "a blue mushroom", above(0)),  # the cap
    Pair("colour of a part", "a red house", "a blue house", below(0)),  # the walls
    Pair("colour of a part", "a green tree", "an orange tree", above(-0.2)),  # the crown
    Pair("colour of a part", "a yellow lamp", "a blue lamp", above(0)),  # the shade
    Pair("colour of a part", "a green pine tree", "a purple pine tree", above(-0.55)),  # the crown
    Pair("colour of a part", "a purple umbrella", "a red umbrella", above(0)),  # the canopy
    Pair("material", "a red cube", "a striped red cube"),
    Pair("material", "a blue sphere", "a striped blue sphere"),
    Pair("material", "a green mug", "a striped green mug"),
    Pair("material", "a red chair", "a wooden chair"),
    Pair("material", "a blue table", "a wooden table"),
    Pair("material", "a green cube", "a wooden cube"),
    Pair("shape of a part", "a blue sphere", "a blue cube"),  # the whole is its only part
    Pair("shape of a part", "a yellow cone", "a yellow pyramid"),
    Pair("shape of a part", "a green tree", "a green pine tree", above(-0.2)),  # the crown
    Pair("shape of a part", "a red stool", "a red chair", above(-0.3)),  # a back
    Pair("shape of a part", "a red cylinder", "a red cone"),
    Pair("shape of a part", "a blue truck", "a blue bus"),
)
