import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # so that a config can say `system: fit_image:FitImage`

FIT = """\
# fits a picture under noise
system: fit_image:FitImage
prompt: ???
renderer: {kind: "fit_image:Pixels", size: 8}
steps: 40
threads: 1
log_every: 4
preview_every: 20
checkpoint_every: 7
export: {formats: [], turntable_frames: 0}
"""


@pytest.fixture
def fit(tmp_path):
    """The path of a config that fits a picture in well under a second."""
    path = tmp_path / "fit.yaml"
    path.write_text(FIT)
    return path
