"""Two conditions with a scale each: an instruction and the picture that it is about (Brooks et al. 2023)."""

from __future__ import annotations

from distill3d.diffusion.condition import Condition


def instructed(
    condition: Condition, text_scale: float = 7.5, image_scale: float = 1.5
) -> tuple[list[Condition], list[float]]:
    """Conditions and scales for `guided` that make InstructPix2Pix's eq. 3 of them:

    `e(0, 0) + s_I (e(I, 0) - e(0, 0)) + s_T (e(I, T) - e(I, 0))`.

    Args:
        condition: of a prior that sees a picture. It knows the branch without text, and that one the branch without
            text and picture; so plain guidance at scale s is the case s_T = s, s_I = 1.
        text_scale: s_T, how much of the instruction. image_scale: s_I, how much of the picture.
    """
    without_text = condition.unconditional
    if without_text is None or without_text.unconditional is None:
        raise ValueError("this condition has no branch without a picture: its prior takes none")
    return [without_text, condition], [image_scale - text_scale, text_scale]
