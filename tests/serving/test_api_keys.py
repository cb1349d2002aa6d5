"""The file of API keys: what a line is, and what is refused without showing it."""

from pathlib import Path

import pytest

from lince.errors import ServiceError
from lince.serving.api_keys import ApiKeys, new_key
from lince.text import NAME


def write(folder: Path, *lines: str) -> Path:
    path = folder / "keys.txt"
    path.write_text("\n".join(lines))
    return path


def test_a_new_key_is_found_by_its_line(tmp_path: Path):
    """Each of several, with its role; no other text is a key."""
    (first, first_line), (second, second_line) = new_key("cats", "predict"), new_key("root", "admin")
    keys = ApiKeys(write(tmp_path, "# for the web site", first_line, "", f"  {second_line}  "))
    assert ("cats", "predict") == (keys.find(first).name, keys.find(first).role)
    assert ("root", "admin") == (keys.find(second).name, keys.find(second).role)
    assert [None] * 4 == [keys.find(other) for other in ("", first[:-1], first_line.split()[2], "é\udcff"[:1])]


def test_keys_are_long_and_differ():
    """32 random bytes are 43 characters; the file does not hold them."""
    made = {new_key("cats", "predict") for _ in range(100)}
    assert 100 == len({key for key, _ in made})
    assert {43} == {len(key.removeprefix("lince_")) for key, _ in made}
    assert not [key for key, line in made if key in line]


def test_an_empty_file_lets_nobody_in(tmp_path: Path):
    """The last key can be taken back."""
    assert ApiKeys(write(tmp_path)).find("") is None


SECRET = "a-key-that-somebody-pasted"


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f"cats predict {SECRET}",
        f"cats {SECRET} {'0' * 64}",
        f"a:b predict {'0' * 64}",
        "cats predict " + "0" * 63,
    ],
)
def test_a_line_that_is_not_valid_is_not_shown(tmp_path: Path, line: str):
    """Its number is: it may hold a key, and the message goes to the log."""
    with pytest.raises(ServiceError, match=r"^Line 2 of .*Expected NAME ROLE SHA256HEX") as caught:
        ApiKeys(write(tmp_path, f"cats predict {'0' * 64}", line))
    assert SECRET not in str(caught.value)


def test_files_that_cannot_be_read_are_told(tmp_path: Path):
    """Missing, a folder, not text, longer than a file of keys can be."""
    with pytest.raises(ServiceError, match=r"cannot be read \(No such file or directory\).*lince key NAME"):
        ApiKeys(tmp_path / "none")
    with pytest.raises(ServiceError, match="directory"):
        ApiKeys(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    with pytest.raises(ServiceError, match="not text in UTF-8"):
        ApiKeys(tmp_path / "binary")
    (tmp_path / "long").write_bytes(b"#\n" * 2**15 + b"#")
    with pytest.raises(ServiceError, match="more than 65,536 bytes"):
        ApiKeys(tmp_path / "long")


def test_names_of_keys_are_one_word():
    """They stand in lines and in logs."""
    assert [name for name in ("cats", "a-b.c_1", "9") if not NAME.fullmatch(name)] == []
    assert [name for name in ("", "a b", "a\n", "-a", "#a", "x" * 101) if NAME.fullmatch(name)] == []
