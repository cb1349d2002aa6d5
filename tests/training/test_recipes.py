"""Recipes: what ships loads, and every mistake in one is named."""

import re
from importlib import resources
from pathlib import Path

import pytest

from lince.errors import RecipeError
from lince.training import recipes
from lince.training.recipe import Augment, Phase, Pooled, ResNet, Vgg
from lince.types import ImageSpec

MINIMAL = """
[model]
family = "vgg"
blocks = [[8], [16, 16]]
block_dropout = [0.1, 0.2]
dense = [16]
dense_dropout = 0.5

[train]
epochs = 3
batch_size = 8
learning_rate = 1e-3
"""


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A recipe that names only what has no default."""
    path = tmp_path / "mine.toml"
    path.write_text(MINIMAL)
    return path


class TestShipped:
    def test_classic_ships(self):
        """The report's recipe is there under its name."""
        assert "classic" in recipes.names()
        assert sorted(recipes.names()) == recipes.names()

    @pytest.mark.parametrize("name", recipes.names())
    def test_loads_under_its_name(self, name):
        """Every recipe that ships is valid, and its file's name is its name."""
        assert name == recipes.load(name).name

    @pytest.mark.parametrize("name", recipes.names())
    def test_begins_with_its_command(self, name):
        """The header, before anything else, names the recipe and the command that runs it."""
        text = (resources.files("lince") / "recipes" / f"{name}.toml").read_text(encoding="utf-8")
        header = re.match(r"(#.*\n)+", text)
        assert header, "the file does not begin with a comment"
        assert header[0].startswith(f"# {name}: ")
        assert re.search(rf"^#\s+command\s+lince train \S+.* --recipe {name}\b", header[0], re.MULTILINE)

    def test_classic_is_the_report_s_recipe(self):
        """What the report prescribes: optimiser, patience, validation share, epochs, all three augmentations."""
        classic = recipes.load("classic")
        train = classic.train
        assert ("adam", 10, 0.2) == (train.optimizer, train.patience, train.validation_fraction)
        assert ("constant", 0, 0, ()) == (train.schedule, train.label_smoothing, train.class_balance, train.phases)
        assert train.epochs >= 51
        assert classic.augment.rotation_degrees > 0
        assert classic.augment.zoom > 0
        assert "random" == classic.augment.horizontal_flip


class TestLoad:
    def test_defaults(self, mine):
        """What a file leaves out has its default; the name is the file's."""
        recipe = recipes.load(mine)
        assert ("mine", ImageSpec(32, 32), Augment()) == (recipe.name, recipe.spec, recipe.augment)
        assert Vgg(blocks=((8,), (16, 16)), block_dropout=(0.1, 0.2), dense=(16,), dense_dropout=0.5) == recipe.model

    @pytest.mark.parametrize("name", recipes.names())
    def test_round_trip(self, name):
        """A resolved recipe as plain data, as it stands in run.json, gives the same recipe, whatever its family."""
        recipe = recipes.load(name, ["train.epochs=3", "image_size=128"])
        assert recipe == recipes.from_table(recipes.to_table(recipe), source="run.json")

    def test_families(self, mine):
        """The table `[model]` is read as its family has it; what is left out has the family's default."""
        train = ["train.optimizer=muon", "train.phases=[{until = 0.5, image_size = 24}]"]
        pooled = recipes.load(mine, ["model={family = 'pooled', stages = [[8], [16, 16]]}", *train])
        assert Pooled(stem=24, stem_floor=5e-4, stages=((8,), (16, 16)), shortcut=False, dropout=0.0) == pooled.model
        assert ((Phase(until=0.5, image_size=24),), "muon") == (pooled.train.phases, pooled.train.optimizer)
        resnet = recipes.load(mine, ["model={family = 'resnet', stages = [8, 16]}"])
        assert ResNet(stages=(8, 16), blocks=1) == resnet.model

    @pytest.mark.parametrize(
        ("override", "read"),
        [
            ("train.epochs=5", lambda recipe: recipe.train.epochs == 5),
            ("train.learning_rate=5e-4", lambda recipe: recipe.train.learning_rate == 5e-4),
            ("model.dense=[64, 32]", lambda recipe: recipe.model.dense == (64, 32)),
            ("augment.horizontal_flip=alternating", lambda recipe: recipe.augment.horizontal_flip == "alternating"),
            ("train.patience=0", lambda recipe: recipe.train.patience == 0),
            ("train.optimizer=sgd", lambda recipe: recipe.train.optimizer == "sgd"),
            ('train.optimizer="sgd"', lambda recipe: recipe.train.optimizer == "sgd"),
            ("name=a=b", lambda recipe: recipe.name == "a=b"),
            (" image_size = 16 ", lambda recipe: recipe.image_size == 16),
        ],
    )
    def test_overrides(self, mine, override, read):
        """Dotted keys reach into tables; values are TOML, and a bare word is a string."""
        assert read(recipes.load(mine, [override]))

    def test_last_override_counts(self, mine):
        """Overrides apply in their order."""
        assert 7 == recipes.load(mine, ["train.epochs=5", "train.epochs=7"]).train.epochs


class TestMistakes:
    def test_unknown_recipe(self):
        """The sentence lists what there is."""
        with pytest.raises(
            RecipeError,
            match=r"Received recipe 'clasic'\. Did you mean 'classic'\? Expected one of .*classic.*, or the path",
        ):
            recipes.load("clasic")

    def test_folder(self, tmp_path):
        """A folder is no recipe."""
        with pytest.raises(RecipeError, match=r"Received recipe '.*' \(.+\)\. Expected one of"):
            recipes.load(tmp_path)

    @pytest.mark.parametrize(
        ("text", "place"),
        [
            ("[train\nepochs = 3", r"1: '\[train'"),
            ("[train]\nepochs 3\n", "2: 'epochs 3'"),
            ("[train]\nphases = [\n  1,\n\n[model]\n", r"2: 'phases = \['"),
            ("a = 1\nb = 2\na = 3\nc = 4\n", "3: 'a = 3'"),
            ("a = yes\n", "1: 'a = yes'"),
        ],
    )
    def test_not_toml(self, tmp_path, text, place):
        """The line where the statement begins that is wrong, and what TOML looks like."""
        path = tmp_path / "broken.toml"
        path.write_text(text)
        with pytest.raises(RecipeError, match=rf"Recipe '.*broken\.toml' is not TOML at line {place}\. Expected lines"):
            recipes.load(path)

    def test_not_text(self, tmp_path):
        """Bytes that are no UTF-8."""
        path = tmp_path / "bytes.toml"
        path.write_bytes(b"\xff\xfe\x00")
        with pytest.raises(RecipeError, match=r"bytes\.toml' \(not text in UTF-8\)\. Expected one of"):
            recipes.load(path)

    @pytest.mark.parametrize("override", ["train.epochs", "=5", ""])
    def test_override_without_key_or_value(self, mine, override):
        """The sentence shows how to write one."""
        with pytest.raises(RecipeError, match=rf"Received --set {override!r}\. Expected key=value, for example"):
            recipes.load(mine, [override])

    @pytest.mark.parametrize("value", ['[{"until":0.5}]', "[[64, 64", "{until = }"])
    def test_override_by_a_broken_list(self, mine, value):
        """A word may go without quotes, but what begins as a list or a table must be one: JSON is not TOML."""
        with pytest.raises(RecipeError, match=r"is not TOML\. Expected, for example, train\.phases="):
            recipes.load(mine, [f"train.phases={value}"])

    def test_override_into_a_value(self, mine):
        """A number has no keys."""
        with pytest.raises(
            RecipeError, match=r"Received --set 'train\.epochs\.more=5', but 'epochs' is a value, not a table"
        ):
            recipes.load(mine, ["train.epochs.more=5"])

    @pytest.mark.parametrize(
        ("override", "match"),
        [
            ("momentum=0.9", r"momentum is not known\."),
            ("train.epoch=5", r"train\.epoch is not known\."),
            ("model.depth=5", r"model\.depth is not known\."),
            ("augment.shear=8", r"augment\.shear is not known\."),
            ("quantize.bits=4", r"quantize\.bits is not known\."),
            ("calibrate.bins=15", r"calibrate\.bins is not known\."),
            ("model.family=vit", r"model\.family received 'vit'\. Expected 'pooled', 'resnet' or 'vgg'"),
            ("train.epochs=0", r"train\.epochs received .* Expected a whole number.* ≥ 1"),
            ("train.epochs=many", r"train\.epochs received .* Expected a whole number"),
            ("train.epochs=2.5", r"train\.epochs received .* Expected a whole number"),
            ("train.batch_size=0", r"train\.batch_size received .* Expected a whole number.* ≥ 1"),
            ("train.learning_rate=0", r"train\.learning_rate received .* Expected a number.* > 0"),
            ("train.learning_rate=nan", r"train\.learning_rate received .* Expected a number.* > 0"),
            ("train.patience=-1", r"train\.patience received .* Expected a whole number.* ≥ 0"),
            ("train.warmup=1", r"train\.warmup received .* Expected a number.* < 1"),
            ("train.label_smoothing=-0.1", r"train\.label_smoothing received .* Expected a number.* ≥ 0"),
            ("train.class_balance=1.5", r"train\.class_balance received .* Expected a number.* ≤ 1"),
            ("train.epoch=3", r"train\.epoch is not known\. Did you mean 'train\.epochs'\?"),
            ("epochs=3", r"epochs is not known\. Did you mean 'train\.epochs'\?"),
            ("model.blocs=[]", r"Did you mean 'model\.blocks'\?"),
            ("model.stem=8", r"model\.stem is not known\. It belongs to another family: leave it out, or"),
            (
                "train.zzz=3",
                r"train\.zzz is not known\. Expected one of batch_size, class_balance, epochs,",
            ),
            ("train.teacher_weight=2", r"train\.teacher_weight received .* Expected a number.* ≤ 1"),
            ("train.teacher_temperature=0", r"train\.teacher_temperature received .* Expected a number.* > 0"),
            (
                "train.schedule=step",
                r"train\.schedule received 'step'\. Expected 'constant', 'cosine' or 'linear'",
            ),
            ("train.phases=[{until = 0.5}]", r"train\.phases\[0\]\.image_size is missing\. Expected a whole number"),
            (
                "train.phases=[{until = 0.5, image_size = 8}, {until = 0.5, image_size = 16}]",
                r"phases end at \[0\.5, 0\.5\] of the training; put them in order, each ending after the one before",
            ),
            (
                "train.phases=[{until = 0.5, image_size = 64}]",
                r"phases has images of 64 pixels; use at most image_size=32",
            ),
            ("train.phases=[{until = 0.5, image_size = 16}]", r"family 'vgg' takes images of one size only"),
            ("train.validation_fraction=1", r"train\.validation_fraction received .* Expected a number.* < 1"),
            ("train.validation_fraction=0", r"train\.validation_fraction received .* Expected a number.* > 0"),
            (
                "train.precision=float16",
                r"train\.precision received 'float16'\. Expected 'auto', 'bfloat16' or 'float32'",
            ),
            ("augment.zoom=1", r"augment\.zoom received .* Expected a number.* < 1"),
            ("augment.rotation_degrees=181", r"augment\.rotation_degrees received .* Expected a number.* ≤ 180"),
            (
                "augment.horizontal_flip=true",
                r"augment\.horizontal_flip received true\. Expected 'alternating', 'none' or 'random'",
            ),
            ("augment.translate=-1", r"augment\.translate received .* Expected a whole number.* ≥ 0"),
            ("augment.translate=32", r"augment\.translate=32 leaves nothing of images of 32 pixels; lower it"),
            ("train.optimizer='Muon'", "which batch norm must undo"),
            ("train.optimizer='muon'", r"which batch norm must undo, and family 'vgg' has none; use 'adam', or"),
            ("augment.cutout=40", r"augment\.cutout=40 leaves nothing of images of 32 pixels; lower it"),
            ("model.dense=[0]", r"model\.dense\[0\] received .* Expected a whole number.* ≥ 1"),
            ("model.dense_dropout=1", r"model\.dense_dropout received .* Expected a number.* < 1"),
            (
                "quantize.calibration_images=0",
                r"quantize\.calibration_images received .* Expected a whole number.* ≥ 1",
            ),
            (
                "quantize.fallback=['int4']",
                r"quantize\.fallback\[0\] received 'int4'\. Expected 'dynamic', 'int16' or 'mixed'",
            ),
            ("quantize.max_drop_points=-1", r"quantize\.max_drop_points received .* Expected a number.* ≥ 0"),
            ("quantize.max_drop_points=inf", r"quantize\.max_drop_points received .* Expected a number.* ≤ 100"),
            ("calibrate.coverage=1", r"calibrate\.coverage received .* Expected a number.* < 1"),
            ("calibrate.abstain=1", r"calibrate\.abstain received .* Expected a number.* < 1"),
            ("image_size=7", r"image_size received .* Expected a whole number.* ≥ 8"),
            ("image_size=1025", r"image_size received .* Expected a whole number.* ≤ 1024"),
            ("model.block_dropout=[0.1]", r"2 blocks but 1 values in block_dropout; give one rate per block"),
            ("model=5", r"model received 5\. Expected a table"),
            ("model={family = 'pooled', stages = []}", r"model\.stages received \[\]\. Expected a non-empty list"),
            (
                "model={family = 'pooled', stages = [[]]}",
                r"model\.stages\[0\] received \[\]\. Expected a non-empty list",
            ),
            (
                "model={family = 'pooled', stages = [[8]], stem = 7}",
                r"model\.stem received 7\. Expected a whole number .*multiple of 2",
            ),
            (
                "model={family = 'pooled', stages = [[8]], stem = 26}",
                r"model\.stem received .* Expected a whole number.* ≤ 24",
            ),
            ("model={family = 'resnet', stages = []}", r"model\.stages received \[\]\. Expected a non-empty list"),
            (
                "model={family = 'pooled', stages = [[8], [8, 8, 16]], shortcut = true}",
                r"stage 2 begins with 8 channels and ends with 16, which a shortcut cannot add; make them equal",
            ),
        ],
    )
    def test_keys_and_values(self, mine, override, match):
        """The sentence names the recipe, the key and what was expected there."""
        with pytest.raises(RecipeError, match=rf"Recipe '.*mine\.toml': .*{match}.*"):
            recipes.load(mine, [override])

    def test_missing_keys(self, tmp_path):
        """What has no default must be named."""
        path = tmp_path / "short.toml"
        path.write_text('[model]\nfamily = "vgg"\n')
        with pytest.raises(RecipeError, match=r"short\.toml': model\.blocks is missing\. Expected a list of list"):
            recipes.load(path)

    def test_more_blocks_than_the_image_has_halves(self, mine):
        """Each block halves the image; the sentence says how many it can take."""
        blocks = ["model.blocks=[[8], [8], [8], [8]]", "model.block_dropout=[0, 0, 0, 0]", "image_size=8"]
        with pytest.raises(
            RecipeError, match=r"halves images of 8 pixels to nothing, it takes 16 or more; use fewer blocks or stages"
        ):
            recipes.load(mine, blocks)
        assert recipes.load(mine, [*blocks[:2], "image_size=16"])

    def test_phases_smaller_than_the_network_takes(self, mine):
        """A stem of 2 × 2 takes a pixel off before the first stage halves the image; a phase counts as much."""
        phase = "train.phases=[{until = 0.5, image_size = SIZE}]"
        model = "model={family = 'pooled', stages = [[8], [8], [8], [8]]}"
        with pytest.raises(RecipeError, match=r"halves images of 16 pixels to nothing, it takes 17 or more"):
            recipes.load(mine, [model, phase.replace("SIZE", "16")])
        assert recipes.load(mine, [model, phase.replace("SIZE", "17")])

    def test_cached_teacher_of_drawn_views(self, mine):
        """A teacher that is asked once is not asked about views drawn in each step."""
        overrides = ["train.teacher_cached=true", "augment.teacher_translate=1"]
        with pytest.raises(RecipeError, match=r"not about those that augment\.teacher_translate=1 draws; set one"):
            recipes.load(mine, overrides)
        assert recipes.load(mine, overrides[:1]).train.teacher_cached

    def test_sources_are_named(self, mine):
        """A table from a run folder is named by its file."""
        table = recipes.to_table(recipes.load(mine)) | {"image_size": 4}
        with pytest.raises(
            RecipeError, match=r"Recipe 'runs/x/run\.json': image_size received 4\. Expected a whole number ≥ 8"
        ):
            recipes.from_table(table, source="runs/x/run.json")
