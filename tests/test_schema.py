"""Data that does not fit a record is told in our own words: the place, what it received, what was expected."""

import datetime
import shutil
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta, Struct, inspect

from lince import schema
from lince.errors import DataError, LinceError, ResumeError
from lince.model_file.manifest import Manifest, RunReport
from lince.runs.run_folder import RunFolder, RunRecord
from lince.training.recipe import Recipe
from lince.types import EpochRecord

FILES = (Recipe, RunRecord, RunReport, Manifest, EpochRecord)
"""Every record that is read from a file."""

LIBRARY = ("Object", "`", "Expected `", "JSON is malformed", "Invalid", "$.")
"""Signs of a sentence that msgspec made."""


class Inner(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table."""

    share: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    many: tuple[int, ...] = ()


class Outer(Struct, kw_only=True, forbid_unknown_fields=True):
    """A table of every kind of field."""

    count: Annotated[int, Meta(ge=1)]
    name: str = ""
    mode: Literal["one", "two"] = "one"
    flag: bool = False
    maybe: float | None = None
    inner: Inner = Inner()
    list_of: tuple[Inner, ...] = ()
    numbers: dict[str, float] = {}


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"count": 0}, "count = 0. Expected a whole number of at least 1."),
        ({"count": "many"}, "count = 'many'. Expected a whole number of at least 1."),
        ({"count": True}, "count = true. Expected a whole number of at least 1."),
        ({"count": None}, "count = null. Expected a whole number of at least 1."),
        ({}, "count is missing. Expected a whole number of at least 1."),
        ({"count": 1, "cuont": 1}, "cuont is not known. Did you mean 'count'?"),
        ({"count": 1, "share": 1}, "share is not known. Did you mean 'inner.share'?"),
        ({"count": 1, "inner": {"shares": 1}}, "inner.shares is not known. Did you mean 'inner.share'?"),
        ({"count": 1, "inner": {"zzz": 1}}, "inner.zzz is not known. Expected one of many, share."),
        ({"count": 1, "inner": {"share": 1}}, "inner.share = 1. Expected a number of at least 0 and below 1."),
        ({"count": 1, "inner": {"many": [1, "x"]}}, "inner.many[1] = 'x'. Expected a whole number."),
        ({"count": 1, "inner": 3}, "inner = 3. Expected a table."),
        ({"count": 1, "list_of": {}}, "list_of = {}. Expected a list of tables."),
        (
            {"count": 1, "list_of": [{}, {"share": -1}]},
            "list_of[1].share = -1. Expected a number of at least 0 and below 1.",
        ),
        ({"count": 1, "mode": "three"}, "mode = 'three'. Expected 'one' or 'two'."),
        ({"count": 1, "mode": ["one"]}, "mode = [\"one\"]. Expected 'one' or 'two'."),
        ({"count": 1, "flag": "yes"}, "flag = 'yes'. Expected true or false."),
        ({"count": 1, "name": 5}, "name = 5. Expected text."),
        ({"count": 1, "maybe": "x"}, "maybe = 'x'. Expected a number."),
        ({"count": 1, "numbers": {"a": "x"}}, "numbers.a = 'x'. Expected a number."),
        ({"count": [True, None]}, "count = [true, null]. Expected a whole number of at least 1."),
        ({"count": 1, "COUNT": 1}, "COUNT is not known. Did you mean 'count'?"),
        ({"count": 1, "list-of": []}, "list-of is not known. Did you mean 'list_of'?"),
        ({"count": 1, "shares": 1}, "shares is not known. Did you mean 'inner.share'?"),
        ([], "It holds []. Expected a table."),
        ({"count": "x" * 1000}, f"count = '{'x' * 99}…. Expected a whole number of at least 1."),
    ],
)
def test_sentence(data: Any, sentence: str):
    """From plain data and from JSON alike."""
    for read in (lambda: schema.convert(data, Outer), lambda: schema.from_json(msgspec.json.encode(data), Outer)):
        with pytest.raises(schema.MisfitError) as caught:
            read()
        assert sentence == str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({"count": [16**5000]}, "count = a number of thousands of digits. Expected a whole number of at least 1."),
        ({"count": datetime.date(1979, 5, 27)}, 'count = "1979-05-27". Expected a whole number of at least 1.'),
        ({"count": 1, "mode": "caf\udce9"}, "mode = 'caf\\udce9'. Expected 'one' or 'two'."),
        (
            {"count": 1, "caf\udce9": 3},
            "caf\udce9 is not known. Expected one of count, flag, inner, list_of, maybe, mode, ",
        ),
    ],
)
def test_what_only_toml_and_the_command_line_have(data: Any, sentence: str):
    """Dates, and bytes that are not UTF-8."""
    with pytest.raises(schema.MisfitError) as caught:
        schema.convert(data, Outer)
    assert str(caught.value).startswith(sentence)


@pytest.mark.parametrize(
    "number",
    [float("inf"), float("nan"), 2**63, -(2**63) - 1, 16**5000],
    ids=["inf", "nan", "2**63", "below", "endless"],
)
def test_numbers_that_no_option_means(number: float):
    """Wherever they are, also those that Python would not write."""
    for data, place in (({"a": number}, "a"), ({"a": {"b": [1, number]}}, r"a\.b\[1\]")):
        with pytest.raises(schema.MisfitError, match=f"^{place} (=|has) .*Expected a (finite|smaller) number\\.$"):
            schema.require_usable_numbers(data)
    schema.require_usable_numbers({"a": [1, 2.5, True, "inf", None, 2**63 - 1]})


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "It is not JSON."),
        (b"{", "It is not JSON."),
        (b"\xff", "It is not JSON."),
        (b"[", "It is not JSON."),
        (b"[" * 100_000, "It is nested too deep."),
    ],
)
def test_content_that_is_not_json(content: bytes, sentence: str):
    """Nothing of the parser's own sentence is shown."""
    with pytest.raises(schema.MisfitError, match=sentence):
        schema.from_json(content, Any)


def parts(kind: inspect.Type) -> list[inspect.Type]:
    """A kind and all that is in it."""
    inner = [getattr(kind, name) for name in ("item_type", "value_type") if hasattr(kind, name)]
    inner += [*getattr(kind, "types", ()), *(field.type for field in getattr(kind, "fields", ()))]
    return [kind, *(part for one in inner for part in parts(one))]


@pytest.mark.parametrize("record", FILES, ids=lambda record: record.__name__)
def test_every_field_of_a_file_has_words(record: type):
    """Records that are read from files hold only kinds that the sentences know; only `Any` takes "a value"."""
    leaves = [kind for kind in parts(inspect.type_info(record)) if len(parts(kind)) == 1]
    assert {inspect.AnyType} >= {type(kind) for kind in leaves if schema.takes(kind) == "a value"}


@pytest.mark.parametrize("record", FILES, ids=lambda record: record.__name__)
def test_a_wrong_value_anywhere_is_named(record: type):
    """Whatever field of a file holds an object of a stranger, the sentence begins with its name."""
    for field in inspect.type_info(record).fields:
        if isinstance(field.type, inspect.AnyType | inspect.DictType):
            continue
        with pytest.raises(schema.MisfitError) as caught:
            schema.convert({field.encode_name: {"no": "such"}}, record)
        assert not any(sign in str(caught.value) for sign in LIBRARY), str(caught.value)


class TestFilesOfARun:
    """What a user sees of a file that was edited, or is another program's."""

    @pytest.fixture
    def folder(self, run: RunFolder, tmp_path: Path) -> RunFolder:
        """A copy to be damaged."""
        return RunFolder(Path(shutil.copytree(run.path, tmp_path / "run")))

    @pytest.mark.parametrize(
        ("file", "content", "error", "match"),
        [
            (
                "run.json",
                b'{"format": 4, "name": 3}',
                ResumeError,
                r"run\.json' is damaged \(name = 3\. Expected text\)",
            ),
            ("run.json", b"{", ResumeError, r"run\.json' is damaged \(It is not JSON\)\. Start"),
            ("report.json", b"{}", DataError, r"report\.json' cannot be read \(\w+ is missing\. Expected"),
            ("history.csv", b"epoch,loss\n1,high\n", DataError, r"history\.csv' cannot be read \(loss = 'high'"),
            ("history.csv", b"epoch\n1,2\n", DataError, r"history\.csv' cannot be read \(loss is missing"),
            ("splits.npz", b"PK\x03\x04", DataError, r"splits\.npz' cannot be read \(it is damaged or cut short\)"),
            ("answers.npz", b"", DataError, r"answers\.npz' cannot be read \(it is damaged or cut short\)\. Write"),
        ],
    )
    def test_damaged(self, folder: RunFolder, file: str, content: bytes, error: type[LinceError], match: str):
        """The file, what is wrong in it, and how to go on."""
        (folder.path / file).write_bytes(content)
        read = {
            "run.json": folder.read_record,
            "report.json": folder.read_report,
            "history.csv": folder.read_history,
            "splits.npz": folder.read_splits,
            "answers.npz": folder.read_answers,
        }[file]
        with pytest.raises(error, match=match) as caught:
            read()
        assert not any(sign in str(caught.value) for sign in LIBRARY)

    def test_history_as_it_was_written(self, run: RunFolder):
        """Numbers of CSV are read as the record has them."""
        assert all(isinstance(record.loss, float) and isinstance(record.epoch, int) for record in run.read_history())
