"""Files that are no recipes: deep, endless, or no files at all."""

import os

import pytest

from lince.errors import RecipeError
from lince.training import recipes


class TestHostileFiles:
    """What a user names as a recipe and is none ends in a sentence, soon."""

    @pytest.mark.parametrize(
        "content",
        [
            b"a = " + b"[" * 30_000,
            b"a = " + b"[" * 400 + b"]" * 400,
            b"a = " + b"{b=" * 15_000,
            b"a." * 15_000 + b"b = 1",
            b"[" + b"a." * 15_000 + b"b]",
            b"a = " + b"9" * 5_000,
            b"name = 'a\x00b'",
            b"\xff\xfe",
            b"# " + b"x" * 100_000,
        ],
        ids=["brackets", "some-brackets", "tables", "dots", "header", "digits", "null", "not-utf8", "long"],
    )
    def test_content(self, tmp_path, content):
        """Deep, long or no text at all."""
        path = tmp_path / "mine.toml"
        path.write_bytes(content)
        with pytest.raises(RecipeError, match=r"mine\.toml"):
            recipes.load(path)

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes among its files")
    def test_pipe_and_device(self, tmp_path):
        """Neither is waited for."""
        os.mkfifo(tmp_path / "pipe.toml")
        for path in (tmp_path / "pipe.toml", "/dev/zero"):
            with pytest.raises(RecipeError, match="not a regular file"):
                recipes.load(path)

    def test_two_gigabytes(self, tmp_path):
        """Are not read."""
        with (tmp_path / "mine.toml").open("wb") as file:
            file.truncate(2**31)
        with pytest.raises(RecipeError, match="more than 16,384 bytes"):
            recipes.load(tmp_path / "mine.toml")

    @pytest.mark.parametrize("value", ["[" * 20_000, "9" * 5_000, "{a=" * 20_000])
    def test_override(self, value):
        """The same of a value on the command line."""
        with pytest.raises(RecipeError):
            recipes.load("classic", [f"train.epochs={value}"])
