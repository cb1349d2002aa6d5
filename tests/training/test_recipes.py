"""Recipes: what ships loads, and every mistake in one is named."""

import re
from importlib import resources
from pathlib import Path

import pytest

from lince.errors import RecipeError
from lince.networks.pooled import Pooled
from lince.networks.resnet import ResNet
from lince.networks.vgg import Vgg
from lince.training import recipes
from lince.training.augmentation.options import Augment
from lince.training.recipe import Phase
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
        """What the report prescribes: optimizer, patience, validation share, epochs, all three augmentations."""
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
        assert Pooled(stem=24, stem_floor=0.01, stages=((8,), (16, 16)), shortcut=False) == pooled.model
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
        ("override", "sentence"),
        [
            (
                "momentum=0.9",
                "momentum is not known. Expected one of augment, calibrate, fit, image_size, model, name, "
                "quantize, train.",
            ),
            ("train.epoch=5", "train.epoch is not known. Did you mean 'train.epochs'?"),
            (
                "model.depth=5",
                "model.depth is not known. Expected one of block_dropout, blocks, dense, dense_dropout, family.",
            ),
            (
                "augment.shear=8",
                "augment.shear is not known. Expected one of blur, cutmix, cutout, degraded, fade, "
                "horizontal_flip, noise, rotation_degrees, teacher_translate, translate, zoom.",
            ),
            (
                "quantize.bits=4",
                "quantize.bits is not known. Expected one of calibration_images, max_drop_points.",
            ),
            ("calibrate.bins=15", "calibrate.bins is not known. Expected one of abstain, coverage."),
            ("model.family=vit", "model.family = 'vit'. Expected 'efficientnet_lite', 'pooled', 'resnet' or 'vgg'."),
            ("train.epochs=0", "train.epochs = 0. Expected a whole number of at least 1."),
            ("train.epochs=many", "train.epochs = 'many'. Expected a whole number of at least 1."),
            ("train.epochs=2.5", "train.epochs = 2.5. Expected a whole number of at least 1."),
            ("train.batch_size=0", "train.batch_size = 0. Expected a whole number of at least 1."),
            ("train.learning_rate=0", "train.learning_rate = 0. Expected a number above 0."),
            ("train.learning_rate=nan", "train.learning_rate = nan. Expected a finite number."),
            ("train.patience=-1", "train.patience = -1. Expected a whole number of at least 0."),
            (
                "train.label_smoothing=-0.1",
                "train.label_smoothing = -0.1. Expected a number of at least 0 and below 1.",
            ),
            ("train.class_balance=1.5", "train.class_balance = 1.5. Expected a number from 0 to 1."),
            ("train.epoch=3", "train.epoch is not known. Did you mean 'train.epochs'?"),
            ("epochs=3", "epochs is not known. Did you mean 'train.epochs'?"),
            (
                "quantize.ranges=mse",
                "quantize.ranges is not known. Expected one of calibration_images, max_drop_points.",
            ),
            ("model.blocs=[]", "model.blocs is not known. Did you mean 'model.blocks'?"),
            (
                "model.stem=8",
                "model.stem is not known. It belongs to another family: leave it out, or start from a recipe of "
                "that family.",
            ),
            (
                "train.zzz=3",
                "train.zzz is not known. Expected one of batch_size, class_balance, epochs, label_smoothing, "
                "learning_rate, optimizer, patience, phases, precision, schedule, "
                "teacher_cached, teacher_temperature, teacher_weight, validate_every, validation_fraction.",
            ),
            ("train.teacher_weight=2", "train.teacher_weight = 2. Expected a number from 0 to 1."),
            ("train.teacher_temperature=0", "train.teacher_temperature = 0. Expected a number above 0."),
            (
                "train.schedule=step",
                "train.schedule = 'step'. Expected 'constant', 'cosine', 'linear' or 'warm_cosine'.",
            ),
            (
                "train.phases=[{until = 0.5}]",
                "train.phases[0].image_size is missing. Expected a whole number from 8 to 1024.",
            ),
            (
                "train.phases=[{until = 0.5, image_size = 8}, {until = 0.5, image_size = 16}]",
                "train.phases end at [0.5, 0.5]. Expected shares in rising order: let each phase end after the one "
                "before.",
            ),
            (
                "train.phases=[{until = 0.5, image_size = 64}]",
                "train.phases[0].image_size = 64. Expected at most image_size = 32.",
            ),
            (
                "train.phases=[{until = 0.5, image_size = 16}]",
                "train.phases with model.family = 'vgg'. Expected none, since a network of this family takes "
                "images of one size: leave them out.",
            ),
            ("train.validation_fraction=1", "train.validation_fraction = 1. Expected a number above 0 and below 1."),
            ("train.validation_fraction=0", "train.validation_fraction = 0. Expected a number above 0 and below 1."),
            ("train.precision=float16", "train.precision = 'float16'. Expected 'auto', 'bfloat16' or 'float32'."),
            ("augment.zoom=1", "augment.zoom = 1. Expected a number of at least 0 and below 1."),
            ("augment.rotation_degrees=181", "augment.rotation_degrees = 181. Expected a number from 0 to 180."),
            (
                "augment.horizontal_flip=true",
                "augment.horizontal_flip = true. Expected 'alternating', 'none' or 'random'.",
            ),
            ("augment.translate=-1", "augment.translate = -1. Expected a whole number of at least 0."),
            (
                "augment.translate=32",
                "augment.translate = 32. Expected less than image_size = 32, so that a part of the image is left.",
            ),
            (
                "train.optimizer='Muon'",
                "train.optimizer = 'Muon' with model.family = 'vgg'. Expected another optimizer such as 'adam': "
                "Muon rescales kernels, which only a batch norm undoes, and this family has none.",
            ),
            (
                "train.optimizer='muon'",
                "train.optimizer = 'muon' with model.family = 'vgg'. Expected another optimizer such as 'adam': "
                "Muon rescales kernels, which only a batch norm undoes, and this family has none.",
            ),
            (
                "augment.cutout=40",
                "augment.cutout = 40. Expected less than image_size = 32, so that a part of the image is left.",
            ),
            ("model.dense=[0]", "model.dense[0] = 0. Expected a whole number of at least 1."),
            ("model.dense_dropout=1", "model.dense_dropout = 1. Expected a number of at least 0 and below 1."),
            (
                "quantize.calibration_images=0",
                "quantize.calibration_images = 0. Expected a whole number of at least 1.",
            ),
            ("quantize.max_drop_points=-1", "quantize.max_drop_points = -1. Expected a number from 0 to 100."),
            ("quantize.max_drop_points=inf", "quantize.max_drop_points = inf. Expected a finite number."),
            ("calibrate.coverage=1", "calibrate.coverage = 1. Expected a number above 0 and below 1."),
            ("calibrate.abstain=1", "calibrate.abstain = 1. Expected a number of at least 0 and below 1."),
            ("image_size=7", "image_size = 7. Expected a whole number from 8 to 1024."),
            ("image_size=1025", "image_size = 1025. Expected a whole number from 8 to 1024."),
            ("model.block_dropout=[0.1]", "model.block_dropout has 1 rate for 2 blocks. Expected one rate per block."),
            ("model=5", "model = 5. Expected a table."),
            (
                "model={family = 'pooled', stages = []}",
                "model.stages = []. Expected a non-empty list of non-empty lists of whole numbers of at least 1.",
            ),
            (
                "model={family = 'pooled', stages = [[]]}",
                "model.stages[0] = []. Expected a non-empty list of whole numbers of at least 1.",
            ),
            (
                "model={family = 'pooled', stages = [[8]], stem = 7}",
                "model.stem = 7. Expected a whole number from 2 to 24 and a multiple of 2.",
            ),
            (
                "model={family = 'pooled', stages = [[8]], stem = 26}",
                "model.stem = 26. Expected a whole number from 2 to 24 and a multiple of 2.",
            ),
            (
                "model={family = 'resnet', stages = []}",
                "model.stages = []. Expected a non-empty list of whole numbers of at least 1.",
            ),
            (
                "model={family = 'pooled', stages = [[8], [8, 8, 16]], shortcut = true}",
                "model.stages: stage 2 begins with 8 channels and ends with 16. Expected equal numbers, which a "
                "shortcut can add: make them equal, or set model.shortcut to false.",
            ),
            ("model.blocks=8", "model.blocks = 8. Expected a list of lists of whole numbers of at least 1."),
            ("image_size=9223372036854775808", "image_size has more than 64 bits. Expected a smaller number."),
            ("train.epochs=1e999", "train.epochs = inf. Expected a finite number."),
            (
                "model.dense=[9223372036854775807]",
                "model has 9.44e+21 weights. Expected at most 536,870,912: use fewer or smaller layers.",
            ),
            (
                "model.blocks=[[8], [16, 9223372036854775807]]",
                "model has 1.08e+22 weights. Expected at most 536,870,912: use fewer or smaller layers.",
            ),
            (
                "model.dense=[40000, 20000]",
                "model has 8.41e+08 weights. Expected at most 536,870,912: use fewer or smaller layers.",
            ),
            (
                "model={family = 'pooled', stages = [[8], [65536, 65536]]}",
                "model has 3.87e+10 weights. Expected at most 536,870,912: use fewer or smaller layers.",
            ),
            (
                "model={family = 'resnet', stages = [8, 16384, 16384]}",
                "model has 7.52e+09 weights. Expected at most 536,870,912: use fewer or smaller layers.",
            ),
            (
                "model={family = 'resnet', stages = [8], blocks = 9223372036854775807}",
                "model.blocks = 9223372036854775807. Expected a whole number from 1 to 200.",
            ),
            (
                "model={family = 'resnet', stages = [1, 1, 1, 1, 1, 1], blocks = 200}",
                "model has 2,406 layers. Expected at most 2,000: use fewer.",
            ),
            (
                "train.batch_size=9223372036854775807",
                "train.batch_size = 9223372036854775807. Expected at most 65536 for images of 32 × 32 pixels.",
            ),
            (
                "train.batch_size=65537",
                "train.batch_size = 65537. Expected at most 65536 for images of 32 × 32 pixels.",
            ),
            ("train.phases=5", "train.phases = 5. Expected a list of tables."),
            (
                "train.phases=[{until = 0.5, image_size = 4}]",
                "train.phases[0].image_size = 4. Expected a whole number from 8 to 1024.",
            ),
        ],
    )
    def test_keys_and_values(self, mine, override, sentence):
        """The sentence names the recipe and the key, what was received and what was expected."""
        with pytest.raises(RecipeError) as caught:
            recipes.load(mine, [override])
        assert f"Recipe {str(mine)!r}: {sentence}" == str(caught.value)

    def test_missing_keys(self, tmp_path):
        """What has no default must be named."""
        path = tmp_path / "short.toml"
        path.write_text('[model]\nfamily = "vgg"\n')
        with pytest.raises(RecipeError, match=r"short\.toml': model\.blocks is missing\. Expected a list of lists"):
            recipes.load(path)

    def test_more_blocks_than_the_image_has_halves(self, mine):
        """Each block halves the image; the sentence says how many it can take."""
        blocks = ["model.blocks=[[8], [8], [8], [8]]", "model.block_dropout=[0, 0, 0, 0]", "image_size=8"]
        with pytest.raises(
            RecipeError, match=r"image_size = 8\. Expected at least 16, since the network halves smaller"
        ):
            recipes.load(mine, blocks)
        assert recipes.load(mine, [*blocks[:2], "image_size=16"])

    def test_phases_smaller_than_the_network_takes(self, mine):
        """A stem of 2 × 2 takes a pixel off before the first stage halves the image; a phase counts as much."""
        phase = "train.phases=[{until = 0.5, image_size = SIZE}]"
        model = "model={family = 'pooled', stages = [[8], [8], [8], [8]]}"
        with pytest.raises(RecipeError, match=r"train\.phases\[0\]\.image_size = 16\. Expected at least 17, since"):
            recipes.load(mine, [model, phase.replace("SIZE", "16")])
        assert recipes.load(mine, [model, phase.replace("SIZE", "17")])

    def test_cached_teacher_of_drawn_views(self, mine):
        """A teacher that is asked once is not asked about views drawn in each step."""
        overrides = ["train.teacher_cached=true", "augment.teacher_translate=1"]
        with pytest.raises(
            RecipeError, match=r"augment\.teacher_translate = 1 with train\.teacher_cached = true\. Expected one"
        ):
            recipes.load(mine, overrides)
        assert recipes.load(mine, overrides[:1]).train.teacher_cached

    def test_sources_are_named(self, mine):
        """A table from a run folder is named by its file."""
        table = recipes.to_table(recipes.load(mine)) | {"image_size": 4}
        with pytest.raises(
            RecipeError, match=r"Recipe 'runs/x/run\.json': image_size = 4\. Expected a whole number from 8 to 1024"
        ):
            recipes.from_table(table, source="runs/x/run.json")
