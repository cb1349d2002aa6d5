"""What a user may name for evaluation."""

import pytest

from lince.cli import evaluation
from lince.errors import LinceError


def test_another_keras_file_of_a_run_is_refused(run):
    """Only RUN/model.keras is what run.json describes: another file is not silently taken for it."""
    other = run.path / "other.keras"

    with pytest.raises(LinceError, match=r"other\.keras' is not the model of a run folder.*Expected RUN/model\.keras"):
        evaluation.open_model(str(other))
