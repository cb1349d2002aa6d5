"""The standard streams have a plain form of every sign that the program prints."""

from pathlib import Path

from lince.system import streams


def test_nearest_ascii():
    """Signs that the program itself prints have a plain form; letters of others are escaped."""
    streams.prepare()
    assert b"5-6 - 1x1 um >= sigma \\xe9" == "5–6 − 1×1 µm ≥ σ é".encode("ascii", "lince.legible")
    assert b"a\\udce9" == "a\udce9".encode("utf-8", "lince.legible")


def test_every_sign_of_the_program_has_a_plain_form():
    """Signs in the texts of the modules that print have an ASCII form; an escape is for the words of others."""
    root = Path(streams.__file__).parents[1]
    modules = [*(root / "cli").glob("*.py"), root / "reporting" / "tables.py"]
    modules += [root / "number_formats.py"]
    signs = {sign for path in modules for sign in path.read_text(encoding="utf-8") if not sign.isascii()}
    assert not [sign for sign in signs if "\\" in sign.encode("ascii", "lince.legible").decode()]
