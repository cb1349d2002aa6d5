"""What predict prints of an answer."""

import contextlib
import os
import pty
import select
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.table import Table

from lince.cli import console
from lince.reporting import tables
from lince.system import quiet
from lince.types import Mistake


def row(**changed: Any) -> dict[str, Any]:
    answer = {"path": "a.png", "label": "cat", "index": 0, "probability": 0.93, "abstain": False, "top": []}
    return answer | {"prediction_set": ["cat", "dog"]} | changed


@contextlib.contextmanager
def terminal(*, columns: int = 100) -> Iterator[Callable[[], str]]:
    """The error stream is a terminal; the function returns what was written to it. No fixture: pytest sets streams."""
    ours, theirs = pty.openpty()
    with pytest.MonkeyPatch.context() as patch, os.fdopen(theirs, "w", encoding="utf-8") as stream:
        patch.setattr(sys, "stderr", stream)
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns))

        def written() -> str:
            stream.flush()
            found = b""
            while select.select([ours], [], [], 0.3)[0]:  # the kernel passes it on a little later, and in parts
                found += os.read(ours, 2**16)
            return found.decode().replace("\r\n", "\n")

        yield written
    os.close(ours)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, "a.png: cat 93.0%, or dog"),
        ({"prediction_set": None}, "a.png: cat 93.0%"),
        ({"probability": 1.0, "prediction_set": ["cat"]}, "a.png: cat >99.9%"),
        ({"abstain": True, "probability": 0.31, "prediction_set": None}, "a.png: I don't know; perhaps cat 31.0%"),
    ],
)
def test_text_names_a_set_and_no_certainty(capsys, changed, expected):
    """Without a set the answer alone; nothing is 100 %."""
    assert console.text_lines([row(**changed)]) == 0
    assert capsys.readouterr().out == f"{expected}\n"


def test_a_remark_is_kept_apart_from_the_next_table(capsys):
    """A blank line follows it, as the table itself ends by one."""
    console.show(Table("a wide column", title="first", caption="A remark."), Table("b", title="second", box=None))
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "" == lines[lines.index("A remark.") + 1]


def test_csv_without_a_set_is_an_empty_field(capsys):
    """As of an image that could not be read."""
    console.csv_rows([row(prediction_set=None), row()])
    assert [line.split(",")[5] for line in capsys.readouterr().out.splitlines()[1:]] == ["", "cat|dog"]


@pytest.mark.parametrize("columns", ["0", "1", "20", "nonsense"])
def test_a_narrow_terminal_gets_whole_tables(capsys, monkeypatch, columns):
    """Nothing is cut, and nothing left out."""
    monkeypatch.setenv("COLUMNS", columns)
    table = Table()
    table.add_row("negative log-likelihood", "0.0239", "nats an image, on average")
    console.show(table)
    assert "negative log-likelihood │ 0.0239 │ nats an image, on average" in capsys.readouterr().out


@pytest.mark.parametrize("name", [":cat:.png", "[red].png", "[/].png", r"a\[/b].png", "[link=x]y[/link]"])
def test_names_are_shown_as_they_are(capsys, name):
    """Neither as a picture nor as a style."""
    console.say(f"Left out: {name}")
    console.show(tables.mistakes_table((Mistake(name, "is", "answered", 0.5),)))
    shown = capsys.readouterr()
    assert f"Left out: {name}\n" == shown.err
    assert f"  {name} " in shown.out


class TestSteps:
    SAID = ("Quantizing to int8 …", "With 40 images, coverage is exact to 7 points.", "Comparing …")

    def test_in_a_pipe_every_sentence_is_a_line(self, capsys):
        """A log shows what took how long."""
        with console.steps() as tell:
            for text in self.SAID:
                tell(text)
        first, note, last = self.SAID
        assert [first, f"Note:     {note}", last] == capsys.readouterr().err.splitlines()

    def test_a_terminal_keeps_what_is_no_step(self):
        """A step is shown in place, also while the error stream is captured, and erased at the end."""
        with terminal() as written:
            with console.steps() as tell:
                for text in self.SAID:
                    with quiet.captured_output():
                        tell(text)
            shown = written()
        assert all(text in shown for text in self.SAID)
        assert f"Note:     {self.SAID[1]}\n" in shown
        assert shown.rstrip("\x1b[?25h").endswith("\x1b[2K")  # the last line is erased, the cursor shown again

    def test_a_single_step(self):
        """It is shown while the work lasts."""
        with terminal() as written:
            with console.step("Starting …"):
                pass
            assert "Starting …" in written()

    def test_a_single_step_in_a_pipe(self, capsys):
        """Nothing: it takes a few seconds."""
        with console.step("Starting …"):
            pass
        assert "" == capsys.readouterr().err


class TestFacts:
    def test_a_terminal_gets_whole_words(self):
        """A long text goes on below its beginning. A path is never cut."""
        with terminal(columns=30) as written:
            console.say_fact("Data", "shapes: 144 images in /a/path-that-is-longer-than-the-line")
            shown = written()
        assert "Data:     shapes: 144 images\n          in\n          /a/path-that-is-longer-than-the-line\n" == shown

    def test_a_pipe_gets_a_line(self, capsys):
        """However long it is; results go to stdout."""
        console.print_fact("Verdict", "long " * 40)
        assert f"Verdict:  {'long ' * 40}\n" == capsys.readouterr().out


def test_slow_work_without_a_terminal(capsys, monkeypatch):
    """A line from time to time, with the number of units where it is known."""
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    with console.progress_bar(console.stderr()) as progress:
        for done, seconds in ((1, 2.0), (2000, 11.0), (2001, 12.0)):
            now[0] = seconds
            progress(done, 4000, "Reading images")
        now[0] = 30.0
        progress(7, 0, "Downloading (bytes)")
    assert ["Reading images: 2,000 of 4,000", "Downloading (bytes): 7"] == capsys.readouterr().err.splitlines()
