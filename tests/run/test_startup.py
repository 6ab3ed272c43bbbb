"""What a command has to wait for before it can say that something is misspelt."""

import subprocess
import sys

SLOW = ("diffusers", "transformers", "peft")
SCRIPT = """
import sys
from distill3d.cli import main
for words in {verbs}:
    code = main(words)
    print("after", words[0], code, *[name for name in {slow} if name in sys.modules])
"""


def test_the_libraries_of_models_are_imported_for_a_picture_and_not_for_a_mistake_in_a_config(tmp_path):
    """One verb after another in one process, so what is there after the first two was imported by neither."""
    verbs = [
        ["run", "dreamfusion", "prompt=a cube", "stepps=3"],
        ["list"],
        ["image", "a red cube", "--steps", "1", "--quiet", "--out", str(tmp_path / "cube.png")],
    ]
    script = SCRIPT.format(verbs=verbs, slow=SLOW)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    mistake, listing, picture = (line for line in told.splitlines() if line.startswith("after "))
    assert mistake == "after run 2"
    assert listing == "after list 0"
    assert picture.startswith("after image 0 diffusers")
