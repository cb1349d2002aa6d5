"""How the tests are run: arrays are checked against their annotations, and unit tests can be run alone.

`pytest --unit` runs the tests that need no training framework, and makes the import of one fail. Which tests those are
follows from the contract "what serves never imports what trains" in `pyproject.toml`.
"""

from collections.abc import Iterator
from pathlib import Path

import jaxtyping
import pytest

import shape_checks
import unit_tests

shape_checks.install()  # before the first import of lince, which the fixtures make

pytest_plugins = ["run_fixtures", "serving_fixtures", "training_fixtures"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--unit", action="store_true", help="Only tests that need no training framework.")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "waits: for the clock or for another process; left out by --unit.")
    if config.getoption("--unit"):
        unit_tests.block_frameworks()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With --unit, files of the other tests are not even imported."""
    return True if config.getoption("--unit") and not unit_tests.is_unit(collection_path) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --unit, tests that wait are left out: they would take longer than all others together."""
    if config.getoption("--unit"):
        waiting = [item for item in items if item.get_closest_marker("waits")]
        config.hook.pytest_deselected(items=waiting)
        items[:] = [item for item in items if not item.get_closest_marker("waits")]


@pytest.fixture
def wrong_arrays() -> Iterator[None]:
    """For tests that a function refuses an array by itself, as it does outside of the tests."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
