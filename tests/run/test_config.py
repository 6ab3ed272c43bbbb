import pytest
import yaml

from distill3d.core.errors import UserError
from distill3d.core.ramp import Ramp
from distill3d.run.config import load
from distill3d.run.strict_yaml import read_yaml


def refuses(path, *overrides, **values):
    with pytest.raises(UserError) as error:
        load(path, list(overrides), **values)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_saved_config_reloads_to_an_equal_one(fit, tmp_path):
    given = load(fit, ["prompt=a gradient", "lr_scale={0: 1, 30: 0.1}", "optimizer.eps=1e-8"])
    saved = tmp_path / "config.yaml"
    saved.write_text(given.to_yaml())
    again = load(saved)
    assert again.config == given.config
    assert again.plain == given.plain
    assert again.config.lr_scale.at(15) == pytest.approx(0.55)
    other = load(fit, ["prompt=a gradient", "lr_scale={0: 1, 30: 0.2}", "optimizer.eps=1e-8"])
    assert other.config != given.config  # the comparison can fail


def test_saved_config_says_every_default(fit):
    tree = yaml.safe_load(load(fit, prompt="a").to_yaml())
    assert tree["seed"] == 0
    assert tree["optimizer"]["eps"] == 1e-15
    assert tree["renderer"] == {"kind": "fit_image:Pixels", "size": 8, "lr": 0.05}


def test_values_from_python_and_from_the_command_line_are_the_same(fit):
    words = load(fit, ["prompt=a", "steps=7", "renderer.lr=1e-2"])
    objects = load(fit, prompt="a", steps=7, **{"renderer.lr": 0.01})
    assert words.config == objects.config
    assert words.config.renderer["lr"] == 0.01


@pytest.mark.parametrize("prompt", ["yes", "12", "a: b", "[red] ball", "null ball", "a = b", "été 火"])
def test_a_prompt_is_words_whatever_yaml_would_make_of_it(fit, prompt, tmp_path):
    given = load(fit, [f"prompt={prompt}"])
    assert given.config.prompt == prompt
    (tmp_path / "again.yaml").write_text(given.to_yaml())
    assert load(tmp_path / "again.yaml").config.prompt == prompt


def test_another_kind_drops_the_settings_of_the_former(fit):
    section = load(fit, ["prompt=a", "renderer.kind=test_pixels"]).config.renderer
    assert section == {"kind": "test_pixels", "size": 16, "lr": 0.05}
    kept = load(fit, ["prompt=a", "renderer.lr=0.5", "renderer.kind=test_pixels"]).config.renderer
    assert kept["lr"] == 0.5  # in whatever order they are given
    assert load(fit, ["prompt=a", "renderer.kind=fit_image:Pixels"]).config.renderer["size"] == 8


VARIANTS = """\
variants:
  renderer.kind=test_pixels:
    renderer: {size: 24}
    lr_scale: {0: 1, 20: 0.5}
    steps: 20
"""


def test_another_kind_brings_in_what_the_file_says_for_it(fit):
    fit.write_text(fit.read_text() + "lr_scale: {0: 1, 40: 0.1}\n" + VARIANTS)
    given = load(fit, ["prompt=a", "renderer.kind=test_pixels"])
    assert (given.config.renderer["size"], given.config.steps) == (24, 20)
    assert given.plain["lr_scale"] == {0: 1, 20: 0.5}  # a ramp is one value, not a section to merge
    assert load(fit, ["prompt=a", "renderer.size=9", "renderer.kind=test_pixels"]).config.renderer["size"] == 9
    assert load(fit, ["prompt=a"]).config.steps == 40
    assert "variants" not in given.to_yaml()


@pytest.mark.parametrize("variants", ["[1]", "{renderer: {}}", "{renderer.kind=nerf: 3}"])
def test_variants_that_are_none_are_named(fit, variants):
    fit.write_text(fit.read_text() + f"variants: {variants}\n")
    with pytest.raises(UserError, match="variants"):
        load(fit, ["prompt=a"])


def test_numbers_as_people_write_them(tmp_path):
    file = tmp_path / "n.yaml"
    file.write_text("a: 1e-3\nb: -2E4\nc: 1.5e+2\nd: no\ne: true\nf: 10\ng: .5\nh: 1-3\ni: e5\n")
    assert read_yaml(file) == {
        "a": 1e-3, "b": -2e4, "c": 150.0, "d": "no", "e": True, "f": 10, "g": 0.5, "h": "1-3", "i": "e5",
    }  # fmt: skip


def test_ramps_by_override(fit):
    assert load(fit, ["prompt=a", "lr_scale={0: 5, 400: 1}"]).config.lr_scale == Ramp({0: 5, 400: 1})


def test_a_misspelt_key_is_named_before_a_missing_one():
    with pytest.raises(UserError, match="unknown key promt; did you mean 'prompt'"):
        load("dreamfusion", ["promt=a cat"])
    with pytest.raises(UserError, match="prompt: must be given"):
        load("dreamfusion", ["steps=3"])


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("stps=3", ["unknown key stps", "did you mean 'steps'?"]),
        ("renderer.sise=3", ["unknown key renderer.sise", "did you mean 'size'?"]),
        ("optimizer.bets=3", ["unknown key optimizer.bets", "did you mean 'betas'?"]),
        ("steps=many", ["steps:", "integer", "'many'"]),
        ("steps=true", ["steps:", "number"]),
        ("steps=0", ["steps:", "1"]),
        ("steps=99999999", ["steps:"]),
        ("steps=1.5", ["steps:", "integer"]),
        ("seed=-1", ["seed:"]),
        ("device=gpu", ["device:", "cuda"]),
        ("threads=some", ["threads:", "auto"]),
        ("checkpoint_every=soon", ["checkpoint_every:", "30s"]),
        ("renderer.kind=nerv", ["unknown renderer kind 'nerv'", "did you mean 'nerf'?"]),
        ("renderer.kind=fit_image:FitImage", ["is not a Renderer"]),
        ("renderer.kind=nowhere:Thing", ["cannot be imported"]),
        ("renderer=3", ["renderer: needs a kind"]),
        ("system=text_to_4d", ["unknown system kind"]),
        ("lr_scale={a: 1}", ["lr_scale:", "step"]),
        ("lr_scale=[]", ["lr_scale:", "number"]),
        ("lr_scale=[1, 2]", ["lr_scale:", "a number or {step: number}"]),
        ("steps", ["key=value"]),
        ("=3", ["key=value"]),
        ("steps..x=3", ["key=value"]),
        ("steps={", ["not YAML"]),
        ("steps.x=3", ["steps is 40"]),
    ],
)
def test_bad_overrides_are_one_line_that_helps(fit, override, words):
    message = refuses(fit, "prompt=a", override)
    for word in words:
        assert word in message, message


def test_prompt_must_be_given(fit):
    assert "prompt: must be given" in refuses(fit)
    assert "renderer.lr: must be given" in refuses(fit, "prompt=a", "renderer.lr='???'")


def test_lists_by_index(fit, tmp_path):
    (tmp_path / "l.yaml").write_text(fit.read_text().replace("formats: []", "formats: [glb, obj]"))
    assert load(tmp_path / "l.yaml", ["prompt=a", "export.formats.1=ply"]).config.export.formats == ("glb", "ply")
    assert "0 to 1" in refuses(tmp_path / "l.yaml", "prompt=a", "export.formats.2=ply")


def test_unknown_config_suggests_the_nearest():
    message = refuses("dreamfuson")
    assert "unknown config 'dreamfuson'" in message
    assert "did you mean 'dreamfusion'?" in message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: 1\na: 2\n", "given twice"),
        ("a: {b: 1, b: 2}\n", "given twice"),
        ("a: [1\n", "not a valid config"),
        ("- 1\n", "`key: value`"),
        ("", "`key: value`"),
        ("a: !!python/object/apply:os.getcwd []\n", "not a valid config"),
        ("prompt: a\n", "needs a system"),
    ],
)
def test_bad_files(tmp_path, text, words):
    (tmp_path / "bad.yaml").write_text(text)
    assert words in refuses(tmp_path / "bad.yaml")


def test_a_missing_file_and_bytes_that_are_no_text(tmp_path):
    assert "no config file" in refuses(tmp_path / "none.yaml")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    refuses(tmp_path / "b.yaml")
