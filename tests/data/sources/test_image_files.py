"""Reading encoded images from files, folders and archives, friendly and hostile."""

import os
import shutil
import struct
import subprocess
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest

from lince.data.sources.base import Entry
from lince.data.sources.image_files import iter_images, open_source
from lince.errors import DataError, ImageError


def paths_in(path) -> list[str]:
    with open_source(path) as source:
        return [entry.path for entry in source.walk() if not entry.is_folder]


def read_all(path, limit_bytes: int = 10**6) -> dict[str, bytes | str]:
    """The content of every file, or the error's message."""
    found = {}
    with open_source(path) as source:
        for entry in source.walk():
            if not entry.is_folder:
                try:
                    found[entry.path] = source.read(entry, limit_bytes)
                except (DataError, ImageError) as error:
                    found[entry.path] = str(error)
    return found


class TestBoth:
    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_walk_is_sorted_and_passes_litter_over(self, make, request):
        """Hidden files and what operating systems leave are not there; "a" comes before "a.b", as folders sort."""
        files = ["b/2.png", "a/1.png", "a.b/3.png", ".hidden/x.png", "__MACOSX/a/._1.png", "a/.DS_Store", "a/Thumbs.db"]
        path = request.getfixturevalue(make)(dict.fromkeys(files, b"x"))
        assert ["a/1.png", "a.b/3.png", "b/2.png"] == paths_in(path)

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_read_gives_the_bytes_up_to_a_limit(self, make, request):
        """A file of exactly the limit is read, one byte more is refused."""
        path = request.getfixturevalue(make)({"fits.png": b"12345", "over.png": b"123456"})
        found = read_all(path, limit_bytes=5)
        assert found["fits.png"] == b"12345"
        assert "more than 5 bytes" in found["over.png"]

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_names_cannot_speak_to_the_terminal(self, make, request):
        """Colours, titles, new lines and turned text are shown, not done."""
        name = "\x1b]0;title\x07\x9b31m\n\u2028{one}\u202egnp.png"
        path = request.getfixturevalue(make)({name: b"x"})
        shown = r"\x1b]0;title\x07\x9b31m\n\u2028{one}\u202egnp.png"
        assert [shown] == paths_in(path)
        assert [f"{path}/{shown}"] == [name for name, _ in iter_images([path])]

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_stamp_changes_with_the_content_only(self, make, request):
        """Another content, name or file is another stamp; another start is not."""
        make = request.getfixturevalue(make)
        stamps = []
        for files in ({"a.png": b"1"}, {"a.png": b"22"}, {"b.png": b"22"}, {"b.png": b"22", "c.png": b"3"}):
            with open_source(make(files, f"{len(stamps)}.zip")) as source:
                assert source.stamp() == source.stamp()
                stamps.append(source.stamp())
        assert len(set(stamps)) == 4


class TestTree:
    def test_link_to_a_folder_above_ends(self, make_tree):
        """A loop is walked once."""
        root = make_tree({"cat/1.png": b"x"})
        (root / "cat" / "up").symlink_to(root)
        (root / "self").symlink_to(root / "self")
        assert ["cat/1.png", "self"] == paths_in(root)

    def test_link_to_a_folder_elsewhere_is_followed(self, make_tree):
        """A class may live on another disk."""
        other, root = make_tree({"1.png": b"x"}, "elsewhere"), make_tree({"cat/2.png": b"y"})
        (root / "dog").symlink_to(other)
        assert ["cat/2.png", "dog/1.png"] == paths_in(root)

    def test_what_cannot_be_read_is_an_error_for_that_file(self, make_tree):
        """A link to nowhere and a pipe fail on their own, and the pipe does not block."""
        root = make_tree({"a.png": b"x"})
        (root / "b.png").symlink_to(root / "nowhere")
        os.mkfifo(root / "c.png")
        found = read_all(root)
        assert found["a.png"] == b"x"
        assert "It cannot be read (No such file or directory)" in found["b.png"]
        assert "It cannot be read (it is not a regular file)" in found["c.png"]

    def test_bottomless_folders_end(self, make_tree):
        """Seventy folders deep is reported, not followed."""
        root = make_tree({"/".join(["d"] * 70).lstrip("/") + "/x.png": b"x"})
        with open_source(root) as source:
            last = list(source.walk())[-1]
        assert (True, "The folder lies more than 64 folders deep.") == (last.is_folder, last.problem)

    def test_names_that_are_not_utf8_stay_apart(self, make_tree):
        """File systems allow any bytes; terminals and JSON do not."""
        root = make_tree({"cat/1.png": b"x"})
        for name in (b"caf\xe8.png", b"caf\xe9.png"):
            (root / os.fsdecode(name)).write_bytes(name)
        assert {r"caf\udce8.png": b"caf\xe8.png", r"caf\udce9.png": b"caf\xe9.png", "cat/1.png": b"x"} == read_all(root)


class TestArchive:
    def test_no_name_reaches_outside(self, make_zip):
        """Absolute paths are inside like all others, and ".." is refused."""
        path = make_zip({"/etc/a.png": b"1", "../b.png": b"2", "cat\\c.png": b"3", "./d//e.png": b"4"})
        found = read_all(path)
        assert {"../b.png", "cat/c.png", "d/e.png", "etc/a.png"} == found.keys()
        assert found["../b.png"] == "Its name leads out of the archive."

    @pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
    def test_same_name_twice(self, tmp_path):
        """The first is read, the second is said to be there."""
        path = tmp_path / "twice.zip"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.png", b"1")
            archive.writestr("a.png", b"2")
        with open_source(path) as source:
            assert [None, "The archive holds another file of the same name."] == [e.problem for e in source.walk()]

    def test_bomb_is_refused_by_its_declared_size(self, make_zip):
        """100 MB of zeros in 100 kB are not inflated."""
        assert "more than 1,000 bytes" in read_all(make_zip({"a.png": bytes(10**8)}), limit_bytes=1000)["a.png"]

    def test_bomb_that_lies_about_its_size(self, tmp_path):
        """A member that declares 10 bytes and inflates to 50 MB is an error, and takes no memory of that order."""
        path = tmp_path / "lying.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", bytes(5 * 10**7))
        path.write_bytes(path.read_bytes().replace(struct.pack("<L", 5 * 10**7), struct.pack("<L", 10)))
        tracemalloc.start()
        message = read_all(path)["a.png"]
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert "It cannot be unpacked (its size or checksum is not the stated one)" in message
        assert peak_bytes < 5 * 10**6

    def test_encrypted_member(self, make_zip):
        """The flag is enough: no password is ever asked for."""
        path = make_zip({"a.png": b"secret"})
        data = bytearray(path.read_bytes())
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            data[data.index(signature) + offset] |= 1
        path.write_bytes(data)
        assert read_all(path)["a.png"] == "It is encrypted. Expected an archive without a password."

    @pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
    def test_damaged_member_is_an_error_for_that_file(self, tmp_path, method):
        """The other members are read all the same."""
        path = tmp_path / "damaged.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.png", b"0123456789" * 20)
            archive.writestr("b.png", b"fine")
            start = archive.infolist()[1].header_offset
        data = bytearray(path.read_bytes())
        data[start - 12 : start - 2] = b"\xff" * 10
        path.write_bytes(data)
        found = read_all(path)
        assert found["a.png"].startswith("It cannot be unpacked (")
        assert found["b.png"] == b"fine"

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_compression_that_cannot_be_bounded(self, tmp_path, method):
        """Python inflates these as far as they go, whatever it was asked for."""
        path = tmp_path / "other.zip"
        with zipfile.ZipFile(path, "w", method) as archive:
            archive.writestr("a.png", b"x")
        expected = f"It is compressed by method {method}. Expected deflate or none: make the archive again."
        assert read_all(path)["a.png"] == expected

    def test_name_that_claims_to_be_utf8_and_is_not(self, make_zip):
        """It is read as a name without the flag: every byte of code page 437 is a character."""
        path = make_zip({"caf\N{LATIN SMALL LETTER E WITH ACUTE}.png": b"x"})
        path.write_bytes(path.read_bytes().replace(b"caf\xc3\xa9", b"caf\xc3\xff"))
        assert [b"caf\xc3\xff.png".decode("cp437")] == paths_in(path)

    def test_old_name_is_read_as_code_page_437(self, make_zip):
        """Without the flag, bytes over 127 are what DOS took them for."""
        path = make_zip({"abc.png": b"x"})
        path.write_bytes(path.read_bytes().replace(b"abc.png", b"ab\x82.png"))
        assert ["abé.png"] == paths_in(path)

    def test_backslash_inside_of_a_letter(self, make_raw_zip):
        """The second byte of many letters of Shift-JIS is one; two classes do not become one folder."""
        names = ["\u30bd\u72ac/1.png", "\u30bd\u732b/1.png", "cat/\u8868.png"]
        found = paths_in(make_raw_zip({name.encode("shift-jis"): b"x" for name in names}))
        assert 3 == len({path.split("/")[0] for path in found})
        assert [2, 2, 2] == [len(path.split("/")) for path in found]

    def test_names_in_utf8_without_the_flag(self, make_raw_zip):
        """As `zip` and Finder write them; code page 437 and UTF-8 in one archive, and in one path."""
        names = {
            "avi\u00e3o/1.png".encode(): "avi\u00e3o/1.png",
            "cafe\u0301/1.png".encode(): "cafe\u0301/1.png",
            b"caf\x82/2.png": "caf\u00e9/2.png",
            "\u732b/".encode() + b"\x82.png": "\u732b/\u00e9.png",
        }
        path = make_raw_zip({raw: str(number).encode() for number, raw in enumerate(names)})
        assert {name: str(number).encode() for number, name in enumerate(names.values())} == read_all(path)

    def test_every_byte_of_a_name_is_kept(self, make_raw_zip):
        """Names of any bytes but the separators stay apart, and can be read."""
        raw = [bytes([byte]) + b".png" for byte in range(256) if chr(byte) not in "/\\."]
        path = make_raw_zip({name: name for name in raw})
        assert set(raw) == set(read_all(path).values())

    def test_name_from_the_unicode_extra_field(self, make_raw_zip):
        """It counts where it belongs to the name; else it is as if it were not there."""
        fields = {
            b"a.png": ("\u00e9.png".encode(), b"a.png"),
            b"b.png": ("\u00e9.png".encode(), b"renamed.png"),
        }
        path = make_raw_zip(dict.fromkeys(fields, b"x"), unicode_paths=fields)
        assert ["b.png", "\u00e9.png"] == paths_in(path)

    def test_unicode_extra_field_that_is_not_utf8(self, make_raw_zip):
        """It is read as other names are."""
        path = make_raw_zip({b"a.png": b"x"}, unicode_paths={b"a.png": (b"\x82.png", b"a.png")})
        assert ["\u00e9.png"] == paths_in(path)

    def test_unicode_extra_field_reaches_nowhere(self, make_raw_zip):
        """It is held to the same rules as any name."""
        path = make_raw_zip({b"a.png": b"x"}, unicode_paths={b"a.png": (b"../../b.png", b"a.png")})
        assert {"../../b.png": "Its name leads out of the archive."} == read_all(path)

    def test_one_name_in_two_encodings(self, make_raw_zip):
        """The second would overwrite the first on a disk; it is said to be there."""
        path = make_raw_zip({"\u00e9.png".encode(): b"1", b"\x82.png": b"2"})
        with open_source(path) as source:
            assert [None, "The archive holds another file of the same name."] == [e.problem for e in source.walk()]

    def test_folder_with_a_backslash_at_its_end(self, make_raw_zip):
        """Some programs write backslashes: it is a folder, and no file in its parent."""
        with open_source(make_raw_zip({b"a\\": b"", b"a\\1.png": b"1"})) as source:
            assert [("a", True), ("a/1.png", False)] == [(entry.path, entry.is_folder) for entry in source.walk()]

    @pytest.mark.skipif(shutil.which("zip") is None, reason="Info-ZIP is not installed.")
    def test_archive_of_the_zip_program(self, make_tree, tmp_path):
        """What people have: a real one, whose flag is not set."""
        root = make_tree({"avi\u00e3o/1.png": b"1", "cafe\u0301/2.png": b"2"})
        subprocess.run(["zip", "-qr", tmp_path / "d.zip", "."], cwd=root, check=True)
        assert read_all(root) == read_all(tmp_path / "d.zip")
        assert [f"{tmp_path}/d.zip/avi\u00e3o/1.png", f"{tmp_path}/d.zip/cafe\u0301/2.png"] == [
            name for name, _ in iter_images([tmp_path / "d.zip"])
        ]

    @pytest.mark.parametrize("content", [b"", b"PK", b"not a zip at all", b"PK\x05\x06" + b"\xff" * 18, b"PK\x05\x06"])
    def test_what_is_no_zip(self, tmp_path, content):
        """Named, with what was expected."""
        path = tmp_path / "fake.zip"
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"fake.zip' is not a zip archive that can be read.*Expected a folder or a"):
            paths_in(path)

    @pytest.mark.parametrize("member", ["header", "data"])
    def test_member_that_is_not_there(self, make_zip, member):
        """The directory names a place at which something else lies, or where the archive ends."""
        path = make_zip({"a.png": b"x" * 100})
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02")
        if member == "header":
            data[at + 42 : at + 46] = struct.pack("<L", 7)
        else:
            data[at + 20 : at + 28] = struct.pack("<2L", 10**6, 10**6)
        path.write_bytes(data)
        reason = {"header": "its header is missing", "data": "the archive ends before it"}[member]
        assert read_all(path)["a.png"] == f"It cannot be unpacked ({reason}). Make the archive again."

    def test_member_that_is_larger_packed(self, make_zip):
        """It would be read into memory, whatever its size is unpacked."""
        path = make_zip({"a.png": b"x"})
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02")
        data[at + 20 : at + 24] = struct.pack("<L", 2**31)
        path.write_bytes(data)
        assert "it states more bytes packed than unpacked" in read_all(path)["a.png"]

    def test_damaged_directory(self, make_zip):
        """Its entries are read one by one: it is an error when the damage is reached."""
        path = make_zip({"a.png": b"x", "b.png": b"y"})
        data = path.read_bytes()
        at = data.rindex(b"PK\x01\x02")
        path.write_bytes(data[:at] + b"XX" + data[at + 2 :])
        with pytest.raises(DataError, match=r"not a zip archive that can be read \(its directory is damaged\)"):
            paths_in(path)

    @pytest.mark.parametrize("seed", range(20))
    def test_changed_archive_is_read_or_refused(self, make_zip, seed):
        """Whatever bytes of the directory and of the headers are changed; what is read is as it was."""
        rng = np.random.default_rng(seed)
        contents = {f"{number}.png": bytes(rng.integers(0, 4, 50 * number).tolist()) for number in range(8)}
        path = make_zip(contents)
        good = path.read_bytes()
        for _ in range(50):
            data = bytearray(good)
            for _ in range(rng.integers(1, 4)):
                data[rng.integers(len(data))] = rng.integers(256)
            path.write_bytes(data)
            try:
                found = read_all(path).values()
            except DataError:
                continue
            assert {one for one in found if isinstance(one, bytes)} <= set(contents.values())

    def test_large_archive(self, tmp_path):
        """With sizes of 64 bits, as programs write that do not know the size beforehand."""
        path = tmp_path / "stream.zip"
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a.png", b"x" * 1000)
        data = bytearray(path.read_bytes())
        at = data.index(b"PK\x01\x02")  # `zipfile` writes small sizes here; others do not
        sizes = data[at + 24 : at + 28] + bytes(4) + data[at + 20 : at + 24] + bytes(4)
        data[at + 20 : at + 28] = b"\xff" * 8
        data[at + 30 : at + 32] = struct.pack("<H", 20)
        name_end = at + 46 + 5
        data[name_end:name_end] = struct.pack("<HH", 1, 16) + sizes
        end = data.rindex(b"PK\x05\x06")
        data[end + 12 : end + 16] = struct.pack("<L", end - at)
        path.write_bytes(data)
        assert read_all(path) == {"a.png": b"x" * 1000}

    def test_cut_archive(self, make_zip):
        """A download that stopped has no end."""
        path = make_zip({"a.png": bytes(1000)})
        path.write_bytes(path.read_bytes()[:-30])
        with pytest.raises(DataError, match=r"is not a zip archive that can be read \(its end is missing\)"):
            paths_in(path)

    @pytest.mark.parametrize("before", [b"", b"#!/bin/sh\n" * 100])
    @pytest.mark.parametrize("comment", [b"", b"c" * 65_535])
    @pytest.mark.parametrize("is_zip64", [False, True])
    def test_stamp_finds_the_directory(self, make_zip, before, comment, is_zip64):
        """Bytes before, a comment after and the zip64 form make no difference to what is hashed."""
        path = make_zip({"a.png": b"x"})
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment
        directory, end = self._take_apart(path.read_bytes())
        body = path.read_bytes()[: -len(end) - len(directory)]
        if is_zip64:
            size, start = len(directory), len(body)
            record = struct.pack("<4sQHHLLQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, start)
            locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, start + size, 1)
            end = record + locator + end[:12] + b"\xff" * 8 + end[20:]
        stamps = []
        for crc in (zlib.crc32(b"x"), 1):
            changed = directory.replace(struct.pack("<L", zlib.crc32(b"x")), struct.pack("<L", crc))
            path.write_bytes(before + body + changed + end)
            with open_source(path) as source:
                stamps.append(source.stamp())
        assert stamps[0] != stamps[1]
        path.write_bytes(before + body.replace(b"x", b"y") + directory + end)
        with open_source(path) as source:
            assert stamps[0] == source.stamp()

    @staticmethod
    def _take_apart(data: bytes) -> tuple[bytes, bytes]:
        end = data.rindex(b"PK\x05\x06")
        (size,) = struct.unpack_from("<L", data, end + 12)
        return data[end - size : end], data[end:]


class TestIterImages:
    def test_files_folders_and_archives_in_the_order_given(self, make_tree, make_zip, tmp_path):
        """Each with the path to show, and its bytes."""
        tree = make_tree({"b/2.jpg": b"2", "a/1.PNG": b"1", "a/notes.txt": b"no"})
        archive = make_zip({"in/3.gif": b"3", "in/LICENSE": b"no"})
        single = tmp_path / "no-extension"
        single.write_bytes(b"4")
        assert [
            (f"{archive}/in/3.gif", b"3"),
            (f"{tree}/a/1.PNG", b"1"),
            (f"{tree}/b/2.jpg", b"2"),
            (str(single), b"4"),
        ] == list(iter_images([archive, tree, single]))

    def test_is_lazy(self, make_tree):
        """The second file is not touched before it is asked for."""
        root = make_tree({"1.png": b"1", "2.png": b"2"})
        images = iter_images([root])
        assert (f"{root}/1.png", b"1") == next(images)
        (root / "2.png").write_bytes(b"changed")
        assert (f"{root}/2.png", b"changed") == next(images)

    @pytest.mark.parametrize(
        ("make", "reason"),
        [
            (lambda folder: folder / "missing.png", r"cannot be read \(No such file"),
            (lambda folder: folder / "missing.zip", r"Cannot read .*\(No such file"),
            (lambda folder: folder / "nul\0.png", "cannot be read"),
            (lambda folder: _file(folder / "fake.zip", b"x"), "is not a zip archive"),
            (lambda folder: _file(folder / "large.png", b"12345678901"), "more than 10 bytes"),
            (lambda folder: folder, r"holds no images. Expected files named .*\.jpg"),
        ],
        ids=["missing", "missing zip", "null character", "fake zip", "too large", "nothing inside"],
    )
    def test_what_cannot_be_read_is_an_error_and_the_next_goes_on(self, tmp_path, make, reason):
        """One row with its error for each, and never an exception."""
        folder = tmp_path / "here"
        folder.mkdir()
        good = _file(tmp_path / "good.png", b"good")
        (_, error), (name, data) = iter_images([make(folder), good], limit_bytes=10)
        assert isinstance(error, (DataError, ImageError))
        with pytest.raises(type(error), match=reason):
            raise error
        assert (str(good), b"good") == (name, data)

    def test_other_pictures_are_given_out(self, make_tree):
        """A TIFF is not passed over in silence: decoding it says what is read instead."""
        root = make_tree({"a.tiff": b"II*\0"})
        assert [(f"{root}/a.tiff", b"II*\0")] == list(iter_images([root]))


def _file(path, content: bytes):
    path.write_bytes(content)
    return path


class TestEntry:
    def test_is_image_goes_by_the_name(self):
        """In any case, and never for a folder."""
        assert [True, True, True, True, False, False] == [
            entry.is_image
            for entry in (
                Entry("a.jpg", None),
                Entry("b/c.WebP", None),
                Entry("b/c.JFIF", None),
                Entry("d.heic", None),
                Entry("e.txt", None),
                Entry("f.png", None, is_folder=True),
            )
        ]


class TestNoFiles:
    @pytest.mark.parametrize("name", ["pipe", "pipe.zip", "/dev/zero"])
    def test_pipe_and_device_are_not_waited_for(self, tmp_path, name):
        """As a source: one sentence, at once."""
        path = tmp_path / name
        if name.startswith("pipe"):
            os.mkfifo(path)
        with pytest.raises(DataError, match="not a regular file"):
            open_source(path).__enter__()
