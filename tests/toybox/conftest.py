import pytest

from tests.toybox.test_train import advance, trainer


@pytest.fixture(scope="session")
def small_prior(tmp_path_factory):
    """The folder of a prior of 16 pixels that has learnt a little."""
    folder = tmp_path_factory.mktemp("prior")
    advance(trainer(folder), 20).save()
    return str(folder / "prior")
