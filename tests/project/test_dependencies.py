"""What is imported is declared, in the extra that brings it; what is declared is imported, or has its reason."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lince"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PROJECT, GROUPS = PYPROJECT["project"], PYPROJECT["dependency-groups"]
EXTRAS = PROJECT["optional-dependencies"]

# Packages whose module has another name; of two, one is installed by system.
PACKAGES = {"PIL": {"pillow"}, "tensorflow": {"tensorflow", "tensorflow-cpu"}}

# What a room may import beside the base dependencies.
ROOMS = {
    "serving": "serve",
    "serving/feedback_store.py": "feedback",
    "client": "client",
    "cli/parquet.py": "batch",
} | dict.fromkeys(
    ["networks", "training", "quantization", "publishing", "reporting", "pipeline.py", "runs/float_model.py"], "train"
)
# Of `reporting`, the tables that `lince evaluate`, `bench` and `data check` print where nothing is trained.
BASE_ALONE = {"reporting/tables.py", "reporting/dataset.py"}


def name_of(requirement: str) -> str:
    """The package of `name[extra]>=1.2; marker`."""
    return re.match(r"[\w-]+", requirement)[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Dotted names of modules that are imported anywhere in a module, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module


def foreign_imports(path: Path) -> set[str]:
    """Those that are neither ours nor Python's."""
    names = imports(ast.parse(path.read_text(encoding="utf-8")))
    return {name for name in names if name.partition(".")[0] not in {"lince", *sys.stdlib_module_names}}


def packages_of(module: str) -> set[str]:
    """Packages that bring a module."""
    top = module.partition(".")[0]
    return PACKAGES.get(top, {top.replace("_", "-")})


def undeclared(path: Path, imported: set[str]) -> set[str]:
    """Modules that a file imports and its extra does not bring."""
    relative = path.relative_to(SOURCE)
    path_extra = ROOMS.get(relative.as_posix(), ROOMS.get(relative.parts[0]))
    extra = None if relative.as_posix() in BASE_ALONE else path_extra
    declared = {name_of(line) for line in (*PROJECT["dependencies"], *EXTRAS.get(extra, ()))}
    return {module for module in imported if not packages_of(module) & declared}


def test_imports_are_declared():
    """Core modules need the base dependencies alone, `serving/` the extra serve, what trains and plots train."""
    found = {path: undeclared(path, foreign_imports(path)) for path in SOURCE.rglob("*.py")}
    assert {} == {str(path): modules for path, modules in found.items() if modules}


@pytest.mark.parametrize(("path", "module"), [("data/cache.py", "psutil"), ("serving/app.py", "keras")])
def test_the_check_can_fail(path: str, module: str):
    """A package of nowhere, and one of the other extra, are found."""
    assert {module} == undeclared(SOURCE / path, {module})


def test_declared_packages_are_imported_or_have_a_reason():
    """A line of `pyproject.toml` whose package no module imports carries a comment that says why."""
    used = {
        package for path in SOURCE.rglob("*.py") for module in foreign_imports(path) for package in packages_of(module)
    }
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    unused = {
        line for extra in (PROJECT["dependencies"], *EXTRAS.values()) for line in extra if name_of(line) not in used
    }
    assert [] == [line for line in unused if not any(f'"{line}", #' in written for written in lines)]


def test_private_modules_are_bounded():
    """A module whose name says that it is private may change in any version: its package has an upper bound."""
    modules = {module for path in SOURCE.rglob("*.py") for module in foreign_imports(path) if "._" in module}
    assert "uvicorn._types" in modules
    requirements = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    bounded = {name_of(line) for line in requirements if "<" in line.partition(";")[0]}
    assert [] == [module for module in modules if not packages_of(module) <= bounded]


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.txt")), ids=lambda path: path.stem)
def test_locks(lock: Path):
    """A lock holds what is declared, with hashes, and no address of an index."""
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    entries = re.split(r"^(?=[\w-]+==)", text, flags=re.MULTILINE)[1:]
    assert [] == [entry for entry in entries if "--hash=sha256:" not in entry]
    if lock.stem in ("clients", "docs"):  # without ours
        assert set(map(name_of, GROUPS[lock.stem])) <= {entry.partition("==")[0] for entry in entries}
        return
    trains = lock.stem in ("train", "test", "baselines", "notebook")
    extras = ("serve", "client", "feedback", *(("train",) if trains else ()))
    declared = {name_of(line) for line in (*PROJECT["dependencies"], *(line for one in extras for line in EXTRAS[one]))}
    assert set() == declared - {entry.partition("==")[0] for entry in entries}


def test_text_files_name_their_encoding():
    """Text is UTF-8 whatever the locale says: `open`, `read_text` and `write_text` name it, or the mode is binary."""
    silent = []
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Call) or any(keyword.arg == "encoding" for keyword in node.keywords):
                continue
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            modes = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            is_text = called == "open" and isinstance(node.func, ast.Name) and not any("b" in mode for mode in modes)
            if called in ("read_text", "write_text") or is_text:
                silent.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert [] == silent
