"""The model file: one file for LiteRT and for zip, the same bytes for the same content, and nothing smuggled in."""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lince.errors import WRITE_AGAIN, ModelFileError
from lince.model_file import artifact
from lince.model_file.artifact import Artifact
from lince.model_file.manifest import Manifest
from lince.runs.run_folder import RunFolder
from lince.types import BinnedShares, Calibration

TENTHS = (0.1,) * 10


@pytest.fixture(scope="module")
def data(run: RunFolder) -> bytes:
    """The bytes of a published model file."""
    return run.model.read_bytes()


@pytest.fixture(scope="module")
def good(run: RunFolder) -> Artifact:
    """The same file, read."""
    return artifact.read(run.model)


def members(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(network: bytes, contents: list[tuple[str, bytes]], *, comment: bytes = b"") -> bytes:
    """A network with an archive of these members behind it."""
    file = io.BytesIO(network)
    with zipfile.ZipFile(file, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents:
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
        archive.comment = comment
    return file.getvalue()


@pytest.fixture
def refuse(tmp_path: Path) -> Callable[[bytes, str], None]:
    """Asserts that a file of these bytes is refused, with a sentence that names the file and matches."""

    def check(data: bytes, match: str) -> None:
        path = tmp_path / "attack.tflite"
        path.write_bytes(data)
        with pytest.raises(ModelFileError, match=rf"(?s)attack\.tflite.*{match}"):
            artifact.read(path)

    return check


@pytest.fixture
def refuse_member(data: bytes, good: Artifact, refuse: Callable) -> Callable[[str, bytes, str], None]:
    """Asserts that the file is refused when one member has this content instead."""

    def check(name: str, content: bytes, match: str) -> None:
        refuse(pack(good.flatbuffer, list((members(data) | {name: content}).items())), match)

    return check


@pytest.fixture
def refuse_manifest(refuse_member: Callable, good: Artifact) -> Callable[..., None]:
    """Asserts that the file is refused when its manifest says something else."""

    def check(match: str, **changes: object) -> None:
        refuse_member("manifest.json", msgspec.json.encode(replace(good.manifest, **changes)), match)

    return check


class TestEncode:
    def test_round_trip(self, good):
        """What is encoded is decoded whole."""
        read = artifact.decode(artifact.encode(good))
        assert (good.flatbuffer, good.manifest, good.card) == (read.flatbuffer, read.manifest, read.card)
        np.testing.assert_array_equal(good.golden.images, read.golden.images)
        np.testing.assert_array_equal(good.golden.logits, read.golden.logits)
        np.testing.assert_array_equal(good.familiarity.mean, read.familiarity.mean)
        np.testing.assert_array_equal(good.familiarity.whitening, read.familiarity.whitening)

    @pytest.mark.parametrize("key", ["verdict", "drift_reference"])
    def test_a_file_without_a_key(self, data, good, key):
        """Files that were written before there was one are read as they are, and say nothing."""
        contents = members(data)
        manifest = msgspec.json.decode(contents["manifest.json"])
        del manifest[key]
        contents["manifest.json"] = msgspec.json.encode(manifest)
        read = artifact.decode(pack(good.flatbuffer, list(contents.items())))
        assert read.manifest == replace(good.manifest, **{key: None})

    def test_same_content_gives_the_same_bytes(self, data, good):
        """No clock and no order of writing leaks into the file."""
        assert data == artifact.encode(good)

    def test_zip_tools_list_the_members(self, run, good):
        """To a zip program the file is an archive; its CRCs hold, and its text is text."""
        with zipfile.ZipFile(run.model) as archive:
            expected = ["manifest.json", "labels.txt", "golden.npz", "CARD.md", "familiarity.npz"]
            assert expected == archive.namelist()
            assert archive.testzip() is None
            assert "disc\nsquare\nstripes\n" == archive.read("labels.txt").decode()
            assert good.card == archive.read("CARD.md").decode()

    def test_interpreter_opens_the_whole_file(self, run, good):
        """To LiteRT the file is a network: the archive behind it changes nothing."""
        from ai_edge_litert.interpreter import Interpreter

        interpreter = Interpreter(str(run.model))
        interpreter.allocate_tensors()
        [pixels], [logits, features] = interpreter.get_input_details(), interpreter.get_output_details()
        assert good.familiarity.mean.shape == (features["shape"][3],)
        assert ("pixels", np.uint8, [-1, 32, 32, 3]) == (
            pixels["name"],
            pixels["dtype"],
            pixels["shape_signature"].tolist(),
        )
        assert ("logits", np.int8, [-1, 3]) == (logits["name"], logits["dtype"], logits["shape_signature"].tolist())
        interpreter.set_tensor(pixels["index"], good.golden.images[:1])
        interpreter.invoke()
        np.testing.assert_array_equal(good.golden.logits[:1], interpreter.get_tensor(logits["index"]))


class TestDescribe:
    def test_version_is_the_hash_of_the_network(self, good):
        """The same network has the same version, whatever else the file says."""
        manifest = good.manifest
        assert hashlib.sha256(good.flatbuffer).hexdigest() == manifest.flatbuffer_sha256
        assert manifest.flatbuffer_sha256[:12] == manifest.version
        assert (len(good.flatbuffer), 2) == (manifest.flatbuffer_bytes, manifest.format)


class TestReadRefusesOtherFiles:
    def test_missing(self, tmp_path):
        """A path that leads nowhere."""
        with pytest.raises(
            ModelFileError, match=r"'.*nowhere\.tflite': cannot be read \(No such file.*Expected a \.tflite file"
        ):
            artifact.read(tmp_path / "nowhere.tflite")

    def test_folder(self, tmp_path):
        """A folder is no file."""
        with pytest.raises(ModelFileError, match=r"cannot be read \(Is a directory\)"):
            artifact.read(tmp_path)

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_pipe(self, tmp_path):
        """A pipe to which nobody writes is refused at once, rather than waited for."""
        os.mkfifo(tmp_path / "pipe.tflite")
        with pytest.raises(ModelFileError, match=r"pipe\.tflite': cannot be read \(it is not a regular file\)"):
            artifact.read(tmp_path / "pipe.tflite")

    @pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
    def test_device(self):
        """A device that has no end."""
        with pytest.raises(ModelFileError, match=r"'/dev/zero': cannot be read \(it is not a regular file\)"):
            artifact.read(Path("/dev/zero"))

    def test_huge_file(self, tmp_path):
        """A file of more than a gigabyte is refused by its size; this one is sparse and takes no room."""
        path = tmp_path / "huge.tflite"
        with path.open("wb") as file:
            file.truncate(2**30 + 1)
        with pytest.raises(ModelFileError, match=r"it has more than 1,073,741,824 bytes"):
            artifact.read(path)

    @pytest.mark.parametrize(
        "content",
        [b"", b"TFL3", b"GIF89a", np.random.default_rng(0).bytes(5000)],
        ids=["empty", "short", "foreign", "random"],
    )
    def test_no_flatbuffer(self, refuse, content):
        """Bytes without LiteRT's mark."""
        refuse(content, "not a LiteRT flatbuffer. Expected a .tflite file written by lince")

    def test_flatbuffer_alone(self, refuse, good):
        """A network of somebody else's, without our archive."""
        refuse(good.flatbuffer, r"no readable archive follows the network\. Expected a")

    def test_archive_alone(self, refuse, data, good):
        """Our archive without its network."""
        refuse(data[len(good.flatbuffer) :], "not a LiteRT flatbuffer")


class TestReadRefusesWhatIsNotPinned:
    def test_the_pinned_file_is_read(self, run, data):
        """Digits may be upper case, as other programs print them."""
        digest = hashlib.sha256(data).hexdigest()
        assert (
            artifact.read(run.model, sha256=digest).manifest == artifact.read(run.model, sha256=digest.upper()).manifest
        )

    def test_another_file(self, run, data):
        """Sound, and not the one that was asked for: both are named in full."""
        digest = hashlib.sha256(data).hexdigest()
        with pytest.raises(
            ModelFileError, match=rf"model\.tflite': its SHA-256 is {digest}\. Expected the pinned one, {'0' * 64}"
        ):
            artifact.read(run.model, sha256="0" * 64)

    def test_what_was_hashed_is_what_is_used(self, run, data, tmp_path, monkeypatch):
        """The file is opened once: one that is exchanged in between is not read."""
        opened = []
        monkeypatch.setattr(os, "open", lambda path, *rest, really=os.open: opened.append(path) or really(path, *rest))
        artifact.read(run.model, sha256=hashlib.sha256(data).hexdigest())
        assert [str(run.model)] == list(map(str, opened))

    def test_not_parsed_before(self, tmp_path):
        """Bytes that were not pinned are refused before anything is read from them."""
        (tmp_path / "other.tflite").write_bytes(b"anything")
        with pytest.raises(ModelFileError, match="its SHA-256 is"):
            artifact.read(tmp_path / "other.tflite", sha256="0" * 64)


class TestReadRefusesDamage:
    def test_truncated(self, refuse, data):
        """Wherever the file ends early, it is refused."""
        for length in (*range(0, len(data), len(data) // 50), len(data) - 1):
            refuse(data[:length], f"Expected|{WRITE_AGAIN}")

    def test_bit_flipped_in_the_network(self, refuse, data, good):
        """The hash sees every bit of the network; the first bytes are checked by LiteRT's mark already."""
        for position in np.random.default_rng(0).integers(8, len(good.flatbuffer), 20):
            flipped = bytearray(data)
            flipped[position] ^= 1
            refuse(
                bytes(flipped),
                "the network's SHA-256 is [0-9a-f]{12}….*The file is damaged or was altered. Write the file",
            )

    def test_bit_flipped_in_the_archive(self, tmp_path, data, good):
        """A flipped bit in the archive is refused, or lies in a field of zip that says nothing (such as a time)."""
        rng = np.random.default_rng(0)
        path = tmp_path / "flipped.tflite"
        directory = range(len(data) - 300, len(data))
        refused = 0
        for position in (*directory, *rng.integers(len(good.flatbuffer), len(data), 300)):
            flipped = bytearray(data)
            flipped[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(flipped)
            try:
                read = artifact.read(path)
            except ModelFileError:
                refused += 1
            else:
                assert (good.manifest, good.card) == (read.manifest, read.card)
                np.testing.assert_array_equal(good.golden.images, read.golden.images)
                np.testing.assert_array_equal(good.golden.logits, read.golden.logits)
        assert refused > 450

    def test_wrong_hash(self, refuse_manifest):
        """A manifest of another network."""
        refuse_manifest("the manifest says 000000000000…", flatbuffer_sha256="0" * 64)

    def test_wrong_version(self, refuse_manifest):
        """The version is the hash's beginning, nothing else."""
        refuse_manifest("The file is damaged or was altered", version="1.0")


class TestReadRefusesHiddenBytes:
    def test_extra_member(self, refuse, data, good):
        """A fifth member."""
        contents = [*members(data).items(), ("evil.pkl", b"cos\nsystem\n")]
        refuse(
            pack(good.flatbuffer, contents),
            r"its archive holds \[.*'evil\.pkl'\]\. Expected exactly \['manifest\.json'",
        )

    def test_missing_member(self, refuse, data, good):
        """No card."""
        contents = members(data)
        del contents["CARD.md"]
        refuse(pack(good.flatbuffer, list(contents.items())), "Expected exactly")

    def test_features_without_familiarity(self, refuse, data, good):
        """The network returns features, and nothing says which are familiar."""
        contents = members(data)
        del contents["familiarity.npz"]
        message = r"familiarity\.npz is missing, and the network has 8 features\. Expected both or none"
        refuse(pack(good.flatbuffer, list(contents.items())), message)

    def test_duplicate_member(self, refuse, data, good):
        """Two members of one name, of which two programs may read different ones."""
        contents = [*members(data).items(), ("labels.txt", b"a\nb\nc\n")]
        with pytest.warns(UserWarning, match="Duplicate name"):
            attack = pack(good.flatbuffer, contents)
        refuse(attack, "its archive holds .*Expected exactly")

    def test_comment(self, refuse, data, good):
        """A comment at the end of the archive."""
        refuse(pack(good.flatbuffer, list(members(data).items()), comment=b"hidden"), "its archive holds")

    def test_zip_bomb(self, refuse_member):
        """A member that would unpack to more than its kind may have is not unpacked."""
        refuse_member("CARD.md", bytes(2**20 + 1), r"CARD\.md has 1,048,577 bytes\. Expected at most 1,048,576")

    @pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
    def test_other_compressions(self, refuse, data, good, method):
        """Methods that zipfile unpacks whole, whatever size a member declares, are refused before they are."""
        file = io.BytesIO(good.flatbuffer)
        with zipfile.ZipFile(file, "a") as archive:
            for name, content in members(data).items():
                archive.writestr(zipfile.ZipInfo(name), content, method)
        refuse(file.getvalue(), rf"is compressed by method {method}\. Expected deflate or none")

    def test_other_compressions_of_golden_images(self, refuse_member, data):
        """The same for the arrays inside."""
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
            for name, content in members(members(data)["golden.npz"]).items():
                archive.writestr(name, content)
        refuse_member("golden.npz", file.getvalue(), r"golden\.npz cannot be read .*compressed by method 12")

    def test_gap_before_the_archive(self, refuse, data, good):
        """Bytes between network and archive."""
        attack = pack(good.flatbuffer + b"hidden", list(members(data).items()))
        start, size = len(good.flatbuffer) + 6, len(good.flatbuffer)
        refuse(attack, f"the archive begins at byte {start:,}, the manifest says {size:,}. Expected no gap")

    def test_gap_between_members(self, refuse, data, good):
        """Bytes between two members, which no directory mentions."""
        file = io.BytesIO(good.flatbuffer)
        with zipfile.ZipFile(file, "a") as archive:
            for name, content in members(data).items():
                archive.writestr(zipfile.ZipInfo(name), content)
                archive.fp.write(b"hidden")
                archive.start_dir = archive.fp.tell()
        refuse(file.getvalue(), "Expected nothing between or behind them")

    def test_bytes_behind_the_archive(self, refuse, data):
        """Bytes after the end, which zip programs pass over."""
        refuse(data + b"hidden", "its archive has .* bytes, its members need .*Expected nothing between or behind them")


class TestReadRefusesManifests:
    @pytest.mark.parametrize("format_", [0, 1, 3, 99])
    def test_unknown_format(self, refuse_manifest, format_):
        """Another format is named, and nothing else of it is believed."""
        refuse_manifest(rf"format {format_}\. Expected 2: update lince", format=format_)

    @pytest.mark.parametrize("depth", [33, 500, 960, 100_000])
    @pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a":', "}")])
    def test_nested(self, refuse_member, data, depth, begin, end):
        """Whoever writes it again, as `inspect --json` does, would need as much of the stack."""
        manifest = msgspec.json.decode(members(data)["manifest.json"]) | {"training": {"deep": 0}}
        content = msgspec.json.encode(manifest).replace(b'"deep":0', f'"deep":{begin * depth}0{end * depth}'.encode())
        refuse_member("manifest.json", content, "nested more than 32 deep|It is nested too deep")

    @pytest.mark.parametrize("temperature", [0.0, -1.0, 1e6])
    def test_temperature_out_of_range(self, refuse_manifest, temperature):
        """Logits cannot be divided by it."""
        refuse_manifest(
            r"temperature = .*\. Expected a number above 0", calibration=Calibration(temperature=temperature)
        )

    @pytest.mark.parametrize("temperature", [float("nan"), float("inf")])
    def test_temperature_that_is_no_number(self, refuse_manifest, temperature):
        """JSON has no NaN and no infinity; what stands there instead is not a number."""
        refuse_manifest(
            r"calibration\.temperature = null\. Expected a number above 0", calibration=Calibration(temperature)
        )

    @pytest.mark.parametrize("field", ["coverage", "set_threshold", "abstain_below", "uniform_share"])
    def test_shares_out_of_range(self, refuse_manifest, field):
        """A share lies between 0 and 1."""
        refuse_manifest(r" = 1\.5\. Expected a number from 0 to 1", calibration=Calibration(**{field: 1.5}))

    @pytest.mark.parametrize("classes", [(), ("only",), ("twice", "twice", "other")])
    def test_classes_that_do_not_tell_apart(self, refuse_manifest, classes):
        """Two classes at least, all different."""
        refuse_manifest("Expected two or more, all different", classes=classes)

    @pytest.mark.parametrize("label", ["", "two\nlines", "two\u2028lines"])
    def test_labels_that_are_no_line(self, refuse_manifest, label):
        """A label is one line of `labels.txt`."""
        refuse_manifest("Expected labels of one line, none empty", classes=("disc", "square", label))

    def test_labels_that_differ(self, refuse_member):
        """Manifest and `labels.txt` name the same classes in the same order."""
        refuse_member("labels.txt", b"square\ndisc\nstripes\n", r"labels\.txt and the manifest name different classes")

    @pytest.mark.parametrize("side", [0, -1, 1025])
    def test_image_sizes(self, refuse_manifest, good, side):
        """A manifest cannot ask for huge images."""
        refuse_manifest("Expected 1 to 1024 pixels a side", image=replace(good.manifest.image, width=side))

    def test_curves_of_few_points(self, refuse_manifest, good):
        """The page draws each of them."""
        refuse_manifest("curves of 10,003 points. Expected 10,000 at most", curves=good.manifest.curves[:1] * 10_003)

    @pytest.mark.parametrize(
        ("changes", "match"),
        [
            ({"n": 0}, r"drift_reference\.n = 0\. Expected a whole number"),
            ({"classes": (0.5, 0.5)}, "shares of 2 classes. Expected 3, one for each"),
            ({"classes": (0.5, 0.5, 0.5)}, "shares whose sum is not 1"),
            ({"classes": (1.5, -0.5, 0.0)}, "Expected a number from 0 to 1"),
            ({"brightness": BinnedShares((1.0,) * 8, TENTHS)}, r"drift_reference\.brightness\.edges = "),
            ({"brightness": BinnedShares((1.0,) * 9, TENTHS[1:])}, r"drift_reference\.brightness\.shares = "),
            ({"contrast": BinnedShares((1.0,) * 9, (0.2,) * 10)}, "shares whose sum is not 1"),
            ({"contrast": BinnedShares((256.0,) * 9, TENTHS)}, "Expected a number from 0 to 255"),
            ({"contrast": BinnedShares((*[1.0] * 8, 0.5), TENTHS)}, "edges of bins that do not rise"),
            ({"contrast": BinnedShares((float("nan"),) * 9, TENTHS)}, "= null. Expected a number from 0 to 255"),
        ],
    )
    def test_references_for_drift(self, refuse_manifest, good, changes, match):
        """Each class and bin has a share, shares are of the whole, and bins are in order."""
        refuse_manifest(match, drift_reference=replace(good.manifest.drift_reference, **changes))

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"null",
            b"[]",
            b"{}",
            b'{"format": 2}',
            b'{"format": 2, "name": "\xff"}',
            b'{"format": 2, "training": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        ],
        ids=["empty", "null", "array", "nothing", "incomplete", "not UTF-8", "100,000 deep"],
    )
    def test_no_manifest(self, refuse_member, content):
        """JSON that is none, or says something else."""
        refuse_member("manifest.json", content, "its manifest is not valid|format None")


class TestReadRefusesGoldenImages:
    def test_pickled_objects(self, refuse_member, good):
        """An array of objects is a pickle: it is refused by its header, and never loaded."""
        file = io.BytesIO()
        np.savez_compressed(file, images=np.array([print], object), logits=good.golden.logits)
        refuse_member("golden.npz", file.getvalue(), r"images\.npy holds object\[1\], expected uint8\[32, 32, 32, 3\]")

    def test_header_that_promises_a_huge_array(self, refuse_member):
        """Nothing is allocated for a header's promise."""
        header = io.BytesIO()
        promise = {"descr": "|u1", "fortran_order": False, "shape": (10**6, 10**6, 10**3)}
        np.lib.format.write_array_header_1_0(header, promise)
        archive = pack(b"", [("images.npy", header.getvalue()), ("logits.npy", header.getvalue())])
        refuse_member("golden.npz", archive, r"images\.npy holds uint8\[1000000, 1000000, 1000\], expected uint8")

    def test_array_that_ends_early(self, refuse_member):
        """A header that is right, over too few bytes."""
        header = io.BytesIO()
        promise = {"descr": "|u1", "fortran_order": False, "shape": (32, 32, 32, 3)}
        np.lib.format.write_array_header_1_0(header, promise)
        archive = pack(b"", [("images.npy", header.getvalue()), ("logits.npy", b"")])
        refuse_member("golden.npz", archive, r"images\.npy ends early")

    @pytest.mark.parametrize(
        "header", [b"{'descr': (", b"(" * 5000, b"\x00" * 100, b"{'descr': __import__('os'), 'shape': ()}"]
    )
    def test_header_that_is_no_header(self, refuse_member, header):
        """NumPy's parser gives up in many ways; each is the same to us."""
        content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
        archive = pack(b"", [("images.npy", content), ("logits.npy", content)])
        refuse_member("golden.npz", archive, r"golden\.npz cannot be read")

    def test_extra_array(self, refuse_member, good):
        """An array that nobody asked for."""
        file = io.BytesIO()
        np.savez_compressed(file, images=good.golden.images, logits=good.golden.logits, more=np.zeros(3))
        refuse_member("golden.npz", file.getvalue(), r"expected images\.npy and logits\.npy")

    def test_other_numbers_of_classes(self, refuse_member, good):
        """Logits for each of the manifest's classes."""
        file = io.BytesIO()
        np.savez_compressed(file, images=good.golden.images, logits=good.golden.logits[:, :2])
        refuse_member("golden.npz", file.getvalue(), r"logits\.npy holds int8\[32, 2\], expected int8\[32, 3\]")

    @pytest.mark.parametrize(
        ("mean", "whitening", "match"),
        [
            (np.zeros(7), np.eye(8), r"mean\.npy holds float32\[7\], expected float32\[8\]"),
            (np.zeros(8), np.eye(7), r"whitening\.npy holds float32\[7, 7\], expected float32\[8, 8\]"),
            (np.full(8, np.nan), np.eye(8), "its mean are not all finite"),
            (np.zeros(8), np.eye(8) * 2e7, r"familiarity\.npz holds numbers beyond 1e\+07"),
        ],
    )
    def test_familiarity_that_gives_no_distances(self, refuse_member, mean, whitening, match):
        """Other shapes than the network's features, and numbers with which a distance would overflow."""
        file = io.BytesIO()
        np.savez_compressed(file, mean=mean.astype(np.float32), whitening=whitening.astype(np.float32))
        refuse_member("familiarity.npz", file.getvalue(), match)

    def test_no_archive(self, refuse_member):
        """Bytes that are no npz."""
        refuse_member("golden.npz", b"random", r"golden\.npz cannot be read \(File is not a zip file\)")


def test_manifest_survives_json(good):
    """The manifest is plain data: JSON and back gives the same record."""
    assert good.manifest == msgspec.json.decode(msgspec.json.encode(good.manifest), type=Manifest)


class TestLocate:
    @pytest.mark.parametrize("name", ["cifar10", "cifar10-best", "cifar10-tiny"])
    def test_models_that_ship_have_names(self, name):
        """The name is that of the manifest; the card gives the verdict and says what the model was trained on."""
        found = artifact.read(artifact.locate(name))
        assert name == found.manifest.name
        assert found.manifest.verdict.text in found.card
        assert "Licence of the data" in found.card

    def test_a_path_comes_before_a_name(self, tmp_path, monkeypatch):
        """A file of the user's that is called as a model that ships is the user's."""
        monkeypatch.chdir(tmp_path)
        (tmp_path / "cifar10").write_bytes(b"")
        assert Path("cifar10") == artifact.locate("cifar10")

    def test_a_folder_without_a_model(self, tmp_path):
        """The sentence names the models that ship."""
        with pytest.raises(ModelFileError, match=r"or a model that ships: 'cifar10', 'cifar10-best', 'cifar10-tiny'\."):
            artifact.locate(str(tmp_path))

    def test_a_wrong_name(self):
        """The sentence names the models that ship."""
        expected = r"'cifar10-bets'.*a model that ships: 'cifar10', 'cifar10-best', 'cifar10-tiny'\."
        with pytest.raises(ModelFileError, match=expected):
            artifact.read(artifact.locate("cifar10-bets"))
