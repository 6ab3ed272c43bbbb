"""What a command has to wait for before it can say that something is misspelt."""

import subprocess
import sys

SLOW = ("diffusers", "transformers", "peft")
SCRIPT = """
import sys
from distill3d.cli import main
code = main({words})
print(code, *[name for name in {slow} if name in sys.modules])
"""


def ran(*words: str) -> str:
    script = SCRIPT.format(words=list(words), slow=SLOW)
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout


def test_a_mistake_in_a_config_is_told_before_the_libraries_of_models_are_imported():
    assert ran("run", "dreamfusion", "prompt=a cube", "stepps=3").split() == ["2"]
    assert ran("list").split()[-1] == "0"


def test_a_picture_does_need_them(tmp_path):
    told = ran("image", "a red cube", "--steps", "1", "--quiet", "--out", str(tmp_path / "cube.png"))
    assert "diffusers" in told.splitlines()[-1].split()
