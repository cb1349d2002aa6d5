"""The documentation says what the program does, and its links lead somewhere."""

import itertools
import json
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import numpy as np
import pytest
import typer

from lince.cli.commands import app
from lince.inference.classifier import Classifier
from lince.model_file import artifact
from lince.model_file.manifest import Certificate, Comparison, Manifest
from lince.runs.run_folder import RunFolder
from lince.training import recipes
from lince.training.recipe import Recipe
from lince.types import ImageSpec

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])
READMES = ("README.md", "README.pt-BR.md")
GENERATOR = runpy.run_path(str(DOCS / "generate.py"))
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("name", GENERATOR["PAGES"])
def test_generated_part_of_a_page_is_what_the_program_says(name: str):
    """A new verb, option or key is in the documentation: write it there with python docs/generate.py."""
    assert (DOCS / name).read_text(encoding="utf-8") == GENERATOR["page"](name)


def test_generator_finds_every_verb_of_the_program():
    """Verbs of the program, those of its groups too, have a heading of their own."""
    program = typer.main.get_command(app).commands
    groups = {name: command.commands for name, command in program.items() if hasattr(command, "commands")}
    expected = {f"lince {verb}" for verb in program} | {
        f"lince {name} {verb}" for name in groups for verb in groups[name]
    }
    headings = set(re.findall(r"^## (.+)$", GENERATOR["verbs"](), re.MULTILINE))
    assert headings - {"lince"} == expected


def test_every_verb_and_option_says_what_it_does():
    """A verb without a docstring, or an option without help, is not documented by being listed."""
    silent = []
    for name, command in GENERATOR["_commands"]("lince", typer.main.get_command(app)):
        silent += [] if command.help else [name]
        silent += [f"{name} {parameter.name}" for parameter in command.params if not getattr(parameter, "help", "x")]
    assert silent == []


def test_generator_gives_every_key_of_the_tables_a_sentence():
    """Keys of a recipe's tables carry the sentence of the docstring; those of the top level are told of in prose."""
    rows = re.findall(r"^\| `(\w+)` \|.*\| *(.*?) *\|$", GENERATOR["keys"](), re.MULTILINE)
    told = {key for key, sentence in rows if sentence}
    top_level = {field.encode_name for field in msgspec.inspect.type_info(Recipe).fields}
    assert {key for key, _ in rows} - told <= top_level
    assert {"blocks", "rotation_degrees", "epochs", "calibration_images", "coverage"} <= told


def test_generated_page_fails_when_a_verb_is_missing():
    """The comparison above can fail: a page from which a verb was cut is not what the generator writes."""
    text = (DOCS / "cli.md").read_text(encoding="utf-8")
    assert text.replace("## lince predict\n", "") != GENERATOR["page"]("cli.md")


@pytest.mark.parametrize("name", READMES)
def test_readme_is_short(name: str):
    """At most 700 words, and no line over 200 characters."""
    text = (ROOT / name).read_text(encoding="utf-8")
    assert len(text.split()) <= 700
    assert [line for line in text.splitlines() if len(line) > 200] == []


def test_readmes_say_the_same():
    """Both languages have the same sections, table rows, links, pictures and commands."""
    found = []
    for name in READMES:
        text = (ROOT / name).read_text(encoding="utf-8")
        marks = re.findall(r"^(#+|-|\|) ", text, re.MULTILINE)
        links = re.findall(r"\]\((?!README)([^)]+)\)", text.replace(".pt-BR.", "."))
        blocks = [(language, re.sub(r" *# .*", "", code)) for language, code in FENCE.findall(text)]
        found.append((marks, links, blocks))
    assert found[0] == found[1]


def test_site_names_every_page():
    """Each page of `docs/` is in the site's navigation, which `make docs` would say later."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    named = set(re.findall(r"[\w/-]+\.md", navigation))
    assert {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")} - named == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_to_files(page: Path):
    """Links without a scheme name a file beside the page."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", text)
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_promises_of_security_name_tests_that_exist():
    """Every row of the table has one at least."""
    text = (DOCS / "security.md").read_text(encoding="utf-8")
    _, _, table = text.partition("| promise | test |\n|---|---|\n")
    rows = table.partition("\n\n")[0].splitlines()
    named = [re.findall(r"`([\w/]+\.py)::(\w+)`", row) for row in rows]
    assert len(rows) > 20
    assert all(named)
    missing = [
        (path, test)
        for path, test in itertools.chain(*named)
        if not re.search(rf"def {test}\(", (ROOT / path).read_text(encoding="utf-8"))
    ]
    assert missing == []


@pytest.mark.parametrize("page", sorted((DOCS / "decisions").glob("*.md")), ids=lambda page: page.stem[:4])
def test_decision_has_the_four_parts(page: Path):
    """Summary, Motivation, Implementation and Discussion, in that order, under a title with the file's number."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert headings[0].startswith(f"{page.stem[:4]}: ")
    assert headings[1:] == ["Summary", "Motivation", "Implementation", "Discussion"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_prose_exist(page: Path):
    """Paths of the repository, written as `src/…`, `docs/…` and so on, are there."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    packages = "|".join(path.name for path in (ROOT / "src/lince").iterdir() if path.is_dir())
    named = rf"(?:src|docs|tests|notebooks|benchmarks|requirements)/[\w./-]+|(?:{packages})/[\w./-]+\.py"
    paths = re.findall(rf"`({named})`", text)
    assert [path for path in paths if not any((top / path).exists() for top in (ROOT, ROOT / "src/lince"))] == []


def test_tree_of_contributing_exists():
    """Each path of the tree is there, and each module of the package is in the tree."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    [tree] = [block for _, block in FENCE.findall(text) if "src/lince/" in block and "errors.py" in block]
    paths = _tree_paths(tree)
    assert [path for path in paths if not (ROOT / path).exists()] == []
    modules = {f"src/lince/{path.name}" for path in (ROOT / "src/lince").glob("*.py") if path.stem != "__init__"}
    assert modules - set(paths) == set()


def test_recipes_of_the_recipes_page_can_be_read(tmp_path: Path):
    """The whole one as it stands, and the command that shows `--set`."""
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    [whole] = [block for _, block in FENCE.findall(text) if "[model]" in block]
    (tmp_path / "mine.toml").write_text(whole, encoding="utf-8")
    assert "mine" == recipes.load(tmp_path / "mine.toml").name
    [command] = re.findall(r"^lince train cifar10 --recipe .*", text, re.MULTILINE)
    words = shlex.split(command)
    overrides = [value for option, value in pairwise(words) if option == "--set"]
    assert 3 == len(overrides)
    recipes.load(words[words.index("--recipe") + 1], overrides)


def test_terms_of_the_glossary_are_sorted_and_used():
    """Terms come in alphabetical order, each once, and each is a word of the program or of its documentation."""
    glossary = (DOCS / "glossary.md").read_text(encoding="utf-8")
    terms = re.findall(r"^- \*\*(.+?)\.\*\*", glossary, re.MULTILINE)
    assert terms == sorted(set(terms), key=str.lower)
    sources = [*(page for page in PAGES if page.name != "glossary.md"), *ROOT.glob("src/**/*.py")]
    words = _words(
        "\n".join(source.read_text(encoding="utf-8") for source in [*sources, ROOT / "notebooks/training.py"])
    )
    assert [term for term in terms if _words(term.partition(" (")[0]) not in words] == []


def test_run_folder_page_names_every_file_of_a_run(trained_run: RunFolder):
    """Files of a finished run, and the optional ones that `RunFolder` knows, have a row; no row is of anything else."""
    text = (DOCS / "run-folder.md").read_text(encoding="utf-8")
    rows = {name.rstrip("/") for name in re.findall(r"^\| `([\w./]+)` \|", text, re.MULTILINE)}
    assert rows == {path.name for path in vars(trained_run).values() if path != trained_run.path}
    assert {path.name for path in trained_run.path.iterdir()} <= rows
    assert {path.name for path in trained_run.plots.iterdir()} <= set(re.findall(r"`(\w+\.png)`", text))


def test_model_file_page_names_every_key_of_the_manifest():
    """Keys of the manifest, of its image, its certificate and the comparison in it are in the page."""
    text = (DOCS / "model-file.md").read_text(encoding="utf-8")
    keys = [key for record in (Manifest, ImageSpec, Certificate, Comparison) for key in record.__dataclass_fields__]
    assert [key for key in keys if f"`{key}`" not in text] == []


def test_example_of_the_model_file_page_gives_the_answers_of_lince(run: RunFolder, tmp_path: Path):
    """The program printed there, which does not import lince, answers the golden images as `Classifier` does."""
    [code] = [code for language, code in FENCE.findall((DOCS / "model-file.md").read_text()) if language == "python"]
    shutil.copy(run.model, tmp_path / "model.tflite")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "lince" in code) == (0, False), done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    classifier = Classifier.load(run.model)
    prediction = classifier.predict(artifact.read(run.model).golden.images)
    assert [answer["label"] for answer in answers] == [classifier.classes[index] for index in prediction.indices]
    assert [answer["abstain"] for answer in answers] == prediction.abstain.tolist()
    assert {answer["golden_steps"] for answer in answers} == {0}
    np.testing.assert_allclose(
        [answer["probability"] for answer in answers], prediction.probabilities.max(axis=1), rtol=1e-5
    )


def _words(text: str) -> str:
    """Lower case, one space between words, hyphens as spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def _tree_paths(tree: str) -> list[str]:
    """Paths of a tree by indentation: names stand before two spaces, and may share a line."""
    paths, parent = [], ""
    for line in tree.splitlines():
        names = re.split(r"\s{2,}", line.strip())
        if line.startswith(" "):
            paths += [parent + name for name in names if re.fullmatch(r"[\w.]+(\.py|/)", name)]
        elif names[0].endswith("/"):
            parent = names[0]
            paths.append(parent)
        else:
            paths += names
    return paths
