"""Which tests are unit tests, by one rule, and the block that holds them to it."""

import sys
import tomllib
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "tests"

# Folders of tests that belong to no package of `lince`, and start whole programs.
NOT_OF_A_PACKAGE = {"end_to_end", "project", "benchmarks"}

_CONTRACT = "what serves never imports what trains"


def forbidden_modules() -> set[str]:
    """What the contract of `pyproject.toml` keeps away from serving: packages of ours that train, and frameworks."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    [contract] = [one for one in project["tool"]["importlinter"]["contracts"] if one["name"] == _CONTRACT]
    return set(contract["forbidden_modules"])


def is_unit(path: Path) -> bool:
    """Whether a file or folder below `tests/` may hold unit tests: those of packages that may serve."""
    trains = {name.removeprefix("lince.") for name in forbidden_modules() if name.startswith("lince.")}
    top = path.relative_to(TESTS).parts[:1]
    return not top or top[0].removeprefix("test_").removesuffix(".py") not in trains | NOT_OF_A_PACKAGE


def block_frameworks() -> None:
    """Every import of a framework fails from here on, whether it is installed or not."""
    sys.meta_path.insert(0, _Blocked({name for name in forbidden_modules() if not name.startswith("lince.")}))


class _Blocked:
    """An importer that refuses some packages."""

    def __init__(self, packages: set[str]):
        self._packages = packages

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name in self._packages:
            raise ModuleNotFoundError(f"{name} is no part of what unit tests may import.", name=name)
        return None
