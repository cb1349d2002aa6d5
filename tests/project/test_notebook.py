"""The training notebook runs from its first cell to its last, in quick mode, on images made here."""

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from ipykernel import kernelspec

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "training.py"


@pytest.fixture(scope="module")
def executed(images_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook with its outputs."""
    folder = tmp_path_factory.mktemp("notebook")
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("LINCE_NOTEBOOK_SOURCE", str(images_folder))
        environment.setenv("LINCE_NOTEBOOK_QUICK", "1")
        _install_kernel(folder / "jupyter", environment)
        notebook = jupytext.read(NOTEBOOK)
        return nbclient.NotebookClient(
            notebook, timeout=240, kernel_name="lince-test", resources={"metadata": {"path": str(folder)}}
        ).execute()


def test_every_code_cell_of_the_notebook_ran(executed):
    """nbclient stops at the first error; a cell without a number was passed over."""
    cells = [cell for cell in executed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))


def test_notebook_shows_figures_tables_and_the_card(executed):
    """Images, augmentation, two curves, confusion matrix, mistakes and reliability; accuracy with its interval."""
    shown = _text(executed)
    assert _figures(executed) == 7
    assert "95 % interval" in shown
    assert "Float network, test images" in shown
    assert "Certificate: float against int8" in shown
    assert "Prediction sets and abstention" in shown
    assert "## Accuracy" in shown


def test_notebook_finds_the_report_in_the_model_file(executed):
    """What was measured is what is served: the evaluation of the file equals the report's."""
    assert "the same evaluation: True; the same sets: True" in _text(executed)


def test_notebook_is_kept_without_outputs():
    """The text form holds no outputs, and markdown beside every step."""
    notebook = jupytext.read(NOTEBOOK)
    assert [cell for cell in notebook.cells if cell.get("outputs")] == []
    assert sum(cell.cell_type == "markdown" for cell in notebook.cells) >= 12


def _install_kernel(folder: Path, environment: pytest.MonkeyPatch) -> None:
    """A kernel of this very interpreter; nothing of the user's Jupyter or IPython is read or written."""
    kernelspec.install(prefix=str(folder), kernel_name="lince-test")
    environment.setenv("JUPYTER_PATH", str(folder / "share" / "jupyter"))
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        environment.setenv(name, str(folder / name.lower()))


def _outputs(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [output for cell in notebook.cells for output in cell.get("outputs", ())]


def _text(notebook: nbformat.NotebookNode) -> str:
    """Everything written: streams, and what cells returned."""
    kinds = ("text/markdown", "text/plain")
    returned = [output.get("data", {}).get(kind, "") for output in _outputs(notebook) for kind in kinds]
    return "\n".join([*(output.get("text", "") for output in _outputs(notebook)), *returned])


def _figures(notebook: nbformat.NotebookNode) -> int:
    return sum("image/png" in output.get("data", {}) for output in _outputs(notebook))
