"""Augmentation moves pixels as it says, keeps everything else, and depends on its generator alone."""

from itertools import pairwise

import keras
import numpy as np
import pytest

import synthetic
from lince.evaluation.corruptions import blurred, faded
from lince.training.augmentation.affine import another_view, augment, degrade, draw_transforms, mirrored
from lince.training.augmentation.options import Augment

EVERYTHING = Augment(rotation_degrees=30, zoom=0.2, translate=3, horizontal_flip="random", cutout=5)


@pytest.fixture
def images() -> np.ndarray:
    """Twelve pictures."""
    return synthetic.batch(12, seed=4)[0]


def run(images: np.ndarray, recipe: Augment, seed: int = 0, *, mirror: np.ndarray | None = None) -> np.ndarray:
    """Augmented pixels; without `mirror`, those images are mirrored that the first epoch would mirror."""
    if mirror is None:
        mirror = mirrored(np.arange(len(images)), recipe, epoch=1, seed=seed)
    return keras.ops.convert_to_numpy(augment(images, recipe, np.random.default_rng(seed), mirror=mirror))


def sample(image: np.ndarray, transform: np.ndarray) -> np.ndarray:
    """The same by NumPy, pixel by pixel: bilinear, mirrored at the edges (d c b a | a b c d | d c b a)."""
    height, width, _ = image.shape
    a0, a1, a2, b0, b1, b2, *_ = transform.astype(np.float64)
    y, x = np.mgrid[0:height, 0:width]
    source_x, source_y = a0 * x + a1 * y + a2, b0 * x + b1 * y + b2
    left, top = np.floor(source_x).astype(int), np.floor(source_y).astype(int)
    result = np.zeros(image.shape)
    for dy in (0, 1):
        for dx in (0, 1):
            weight = (1 - abs(source_x - left - dx)) * (1 - abs(source_y - top - dy))
            result += weight[..., None] * image[_mirror(top + dy, height), _mirror(left + dx, width)]
    return result


def _mirror(index: np.ndarray, size: int) -> np.ndarray:
    index = index % (2 * size)
    return np.where(index < size, index, 2 * size - 1 - index)


class TestAugment:
    @pytest.mark.parametrize(
        "recipe",
        [
            EVERYTHING,
            Augment(rotation_degrees=180),
            Augment(zoom=0.9),
            Augment(translate=31),
            Augment(horizontal_flip="random"),
            Augment(horizontal_flip="alternating"),
            Augment(cutout=31),
        ],
        ids=["everything", "rotation", "zoom", "translate", "flip", "alternating", "cutout"],
    )
    def test_keeps_shape_and_range(self, images, recipe):
        """Pixels stay pixels: f32[N,H,W,3] within 0..255, and nothing comes in that was not in the picture."""
        found = run(images, recipe)
        assert images.shape == found.shape
        assert np.float32 == found.dtype
        tolerance = 1e-3  # bilinear weights in float32 sum to 1 within 1e-6 of 255
        low, high = images.min(axis=(1, 2)), images.max(axis=(1, 2))
        assert (found.min(axis=(1, 2)) >= low - tolerance).all()
        assert (found.max(axis=(1, 2)) <= high + tolerance).all()

    def test_without_ranges_nothing_changes(self, images):
        """A recipe without augmentation hands the pixels over as they are."""
        np.testing.assert_array_equal(images.astype(np.float32), run(images, Augment()))

    def test_flip_is_exact(self, images):
        """Each picture is itself or its mirror image, to the bit; both occur."""
        found = run(images, Augment(horizontal_flip="random"))
        flipped = [np.array_equal(one, image[:, ::-1]) for one, image in zip(found, images, strict=True)]
        same = [np.array_equal(one, image) for one, image in zip(found, images, strict=True)]
        assert [not was for was in flipped] == same
        assert 0 < sum(flipped) < len(images)

    def test_mirrors_those_that_it_is_told_to(self, images):
        """Neither more nor fewer, whatever the recipe says of how they are chosen."""
        mirror = np.arange(12) % 3 == 0
        expected = np.where(mirror[:, None, None, None], images[:, :, ::-1], images)
        np.testing.assert_array_equal(expected, run(images, Augment(), mirror=mirror))

    @pytest.mark.parametrize(
        "recipe", [Augment(rotation_degrees=30, zoom=0.2), Augment(rotation_degrees=90), Augment(zoom=0.5)]
    )
    def test_is_the_affine_map_that_was_drawn(self, images, recipe):
        """One bilinear resampling by the drawn map, written out in NumPy, gives the same pixels."""
        transforms = draw_transforms(len(images), (32, 32), recipe, np.random.default_rng(0))
        expected = np.stack([sample(image, row) for image, row in zip(images, transforms, strict=True)])
        np.testing.assert_allclose(expected, run(images, recipe), atol=0.05)

    def test_depends_on_the_generator_alone(self, images):
        """The same generator gives the same bits, another one other pictures; global random state does not count."""
        first = run(images, EVERYTHING, seed=1)
        np.random.seed(5)
        keras.utils.set_random_seed(5)
        np.testing.assert_array_equal(first, run(images, EVERYTHING, seed=1))
        assert not np.array_equal(first, run(images, EVERYTHING, seed=2))

    def test_leaves_the_images_alone(self, images):
        """The pictures in memory are for the next epoch, too."""
        before = images.copy()
        run(images, EVERYTHING)
        np.testing.assert_array_equal(before, images)

    def test_draws_each_time(self, images):
        """Going on with one generator gives new pictures: no epoch sees the last one's."""
        rng, mirror = np.random.default_rng(0), np.zeros(12, bool)
        first, second = (keras.ops.convert_to_numpy(augment(images, EVERYTHING, rng, mirror=mirror)) for _ in range(2))
        assert not np.array_equal(first, second)

    def test_other_shapes_of_images(self):
        """Pictures need not be square; a flip mirrors the columns."""
        images = np.random.default_rng(0).integers(0, 256, (8, 10, 16, 3), dtype=np.uint8)
        found = run(images, Augment(horizontal_flip="random"))
        for one, image in zip(found, images, strict=True):
            assert np.array_equal(one, image) or np.array_equal(one, image[:, ::-1])

    def test_images_that_must_not_be_written_to(self, images):
        """Those in a file come as they are."""
        images.flags.writeable = False
        assert images.shape == run(images, EVERYTHING).shape


def moves(found: np.ndarray, images: np.ndarray, *, reach: int) -> list[tuple[int, int]]:
    """For each picture the one window of the original, mirrored beyond its edge, that it is."""
    return [_move(one, image, reach) for one, image in zip(found, images, strict=True)]


def _move(found: np.ndarray, image: np.ndarray, reach: int) -> tuple[int, int]:
    height, width = image.shape[:2]
    padded, steps = np.pad(image, ((reach, reach), (reach, reach), (0, 0)), mode="reflect"), range(2 * reach + 1)
    windows = {(top, left): padded[top : top + height, left : left + width] for top in steps for left in steps}
    [move] = [move for move, window in windows.items() if np.array_equal(found, window)]
    return move


def every_move(reach: int) -> set[tuple[int, int]]:
    return {(top, left) for top in range(2 * reach + 1) for left in range(2 * reach + 1)}


class TestTranslate:
    def test_only_moves(self):
        """Each picture is a window of itself, mirrored beyond its edge; every shift of the range is among them."""
        images = np.random.default_rng(0).integers(0, 256, (200, 8, 10, 3), dtype=np.uint8)
        assert every_move(2) == set(moves(run(images, Augment(translate=2)), images, reach=2))


class TestAnotherView:
    """What a teacher is asked about."""

    @pytest.fixture
    def pixels(self) -> np.ndarray:
        """Two hundred pictures as augmentation leaves them."""
        return np.random.default_rng(0).integers(0, 256, (200, 8, 10, 3)).astype(np.float32)

    def view(self, pixels: np.ndarray, **options: object) -> np.ndarray:
        return another_view(pixels, Augment(**options), np.random.default_rng(1))

    def test_is_the_picture_itself_unless_asked_for(self, pixels):
        """Without `teacher_translate` nothing is moved, mirrored or copied."""
        assert pixels is self.view(pixels, translate=3, horizontal_flip="random")

    def test_moves_each_picture(self, pixels):
        """Where the recipe does not mirror, every shift of the range and nothing else."""
        found = self.view(pixels, teacher_translate=1)
        assert (pixels.shape, np.float32) == (found.shape, found.dtype)
        assert every_move(1) == set(moves(found, pixels, reach=1))

    @pytest.mark.parametrize("flip", ["random", "alternating"])
    def test_mirrors_half_where_the_recipe_mirrors(self, pixels, flip):
        """By lot: the mirror of the moved picture."""
        found = self.view(pixels, teacher_translate=1, horizontal_flip=flip)
        moved = self.view(pixels, teacher_translate=1)
        same, turned = ((found == other).all(axis=(1, 2, 3)) for other in (moved, moved[:, :, ::-1]))
        assert (same ^ turned).all()
        assert 0.4 < turned.mean() < 0.6

    def test_leaves_the_network_s_picture_alone(self, pixels):
        """It writes into a copy."""
        before = pixels.copy()
        self.view(pixels, teacher_translate=1, horizontal_flip="random")
        np.testing.assert_array_equal(before, pixels)


class TestCutout:
    @pytest.mark.parametrize("side", [1, 5, 8])
    def test_paints_one_square(self, side):
        """Of that side, wholly inside the picture, in all colours; the rest stays."""
        images = np.random.default_rng(0).choice(np.array([10, 30], np.uint8), (50, 8, 10, 3))  # nothing is in between
        corners = set()
        for one, image in zip(run(images, Augment(cutout=side)), images, strict=True):
            painted = ((one != 10) & (one != 30)).all(axis=2)
            rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
            assert (side, side, side**2) == (len(rows), len(columns), painted.sum())
            assert (side - 1, side - 1) == (np.ptp(rows), np.ptp(columns))
            np.testing.assert_array_equal(image[~painted], one[~painted])
            corners.add((rows[0], columns[0]))
        assert len(corners) > 1

    def test_is_no_signal(self):
        """In the picture's mean colour: dark pictures, and those of little contrast, are not outshone by it."""
        rng = np.random.default_rng(0)
        images = (rng.integers(0, 4, (20, 32, 32, 3)) + np.array([0, 200, 90])).astype(np.uint8)
        painted = run(images, Augment(cutout=32))
        np.testing.assert_allclose(np.broadcast_to([1.5, 201.5, 91.5], painted.shape), painted, atol=1)


class TestDegrade:
    kinds = ({"blur": 1.5}, {"fade": 0.6}, {"noise": 20.0})

    def pixels(self, n: int) -> np.ndarray:
        """Pictures of full contrast within 60..200, so that noise is seldom cut at black and white."""
        return np.random.default_rng(5).integers(60, 201, (n, 8, 10, 3)).astype(np.float32)

    @pytest.mark.parametrize("recipe", [Augment(), EVERYTHING, Augment(degraded=0.5), Augment(noise=9)])
    def test_without_share_or_range_nothing_changes(self, recipe):
        """The same array, and nothing drawn: what follows from the generator is what it was."""
        pixels, rng = self.pixels(3), np.random.default_rng(0)
        assert pixels is degrade(pixels, recipe, rng)
        assert np.random.default_rng(0).random() == rng.random()

    @pytest.mark.parametrize("kind", kinds, ids=lambda kind: next(iter(kind)))
    def test_befalls_its_share_of_the_images(self, kind):
        """A quarter of a thousand, within five standard errors; the others stay to the bit, and the given ones do."""
        pixels = self.pixels(1000)
        before = pixels.copy()
        found = degrade(pixels, Augment(degraded=0.25, **kind), np.random.default_rng(0))
        assert (np.float32, pixels.shape) == (found.dtype, found.shape)
        np.testing.assert_array_equal(before, pixels)
        assert 180 < (found != pixels).any(axis=(1, 2, 3)).sum() < 320

    def test_kinds_meet_by_chance(self):
        """Each share is drawn on its own, so that some images have all three."""
        recipe = Augment(degraded=0.5, blur=1.5, fade=0.6, noise=20)
        pixels = self.pixels(800)
        left = (degrade(pixels, recipe, np.random.default_rng(0)) == pixels).all(axis=(1, 2, 3)).sum()
        assert 60 < left < 140  # an eighth is expected

    def test_noise_up_to_its_standard_deviation(self):
        """From none to all of it, without making pictures lighter, and within 0..255."""
        pixels = self.pixels(400)
        found = degrade(pixels, Augment(degraded=1, noise=20), np.random.default_rng(0))
        sigmas = (found - pixels).std(axis=(1, 2, 3))
        assert sigmas.min() < 1
        assert 17 < sigmas.max() < 23
        assert abs((found - pixels).mean()) < 0.3
        extremes = degrade(
            np.full((9, 8, 8, 3), 255, np.float32), Augment(degraded=1, noise=90), np.random.default_rng(0)
        )
        assert 255 == extremes.max()

    def test_blur_and_fade_up_to_their_ranges(self):
        """Between the picture itself and the strongest, which is that of the corruption suite."""
        pixels = self.pixels(200)
        spread = pixels.std(axis=(1, 2, 3))
        for recipe, strongest in (
            (Augment(degraded=1, blur=1.5), blurred(pixels, np.full(200, 1.5))),
            (Augment(degraded=1, fade=0.6), faded(pixels, np.full(200, 0.4))),
        ):
            found = degrade(pixels, recipe, np.random.default_rng(0)).std(axis=(1, 2, 3)) / spread
            lowest = (strongest.std(axis=(1, 2, 3)) / spread).min()
            assert lowest <= found.min() < lowest + 0.05
            assert 0.95 < found.max() <= 1.001


class TestMirrored:
    indices = np.arange(1000)

    def test_none(self):
        """Without flips no image is mirrored, ever."""
        assert not any(mirrored(self.indices, Augment(), epoch=epoch, seed=0).any() for epoch in range(1, 5))

    def test_alternating_covers_both_ways_in_two_turns(self):
        """Any two epochs on end show each image both ways round, half of them one way in each."""
        epochs = [
            mirrored(self.indices, Augment(horizontal_flip="alternating"), epoch=epoch, seed=3) for epoch in range(1, 5)
        ]
        for one, two in pairwise(epochs):
            np.testing.assert_array_equal(one, ~two)
            assert 450 < one.sum() < 550

    def test_random_mirrors_another_half_each_epoch(self):
        """What an image was in one epoch says nothing of the next."""
        epochs = [mirrored(self.indices, Augment(horizontal_flip="random"), epoch=epoch, seed=3) for epoch in (1, 2, 3)]
        for one, two in pairwise(epochs):
            assert 450 < one.sum() < 550
            assert 450 < (one == two).sum() < 550

    @pytest.mark.parametrize("flip", ["random", "alternating"])
    def test_is_the_image_s_own(self, flip):
        """Batches of any size and order mirror the same images; another seed mirrors others."""
        recipe = Augment(horizontal_flip=flip)
        whole, other = (mirrored(self.indices, recipe, epoch=2, seed=seed) for seed in (3, 4))
        some = np.array([7, 999, 7, 0])
        np.testing.assert_array_equal(whole[some], mirrored(some, recipe, epoch=2, seed=3))
        assert 450 < (whole == other).sum() < 550


class TestDrawTransforms:
    def test_about_the_centre(self):
        """The centre of the picture stays where it is, whatever is drawn."""
        height, width = 20, 32
        centre_x, centre_y = (width - 1) / 2, (height - 1) / 2
        a0, a1, a2, b0, b1, b2, c0, c1 = draw_transforms(50, (height, width), EVERYTHING, np.random.default_rng(0)).T
        np.testing.assert_allclose(centre_x, a0 * centre_x + a1 * centre_y + a2, atol=1e-4)
        np.testing.assert_allclose(centre_y, b0 * centre_x + b1 * centre_y + b2, atol=1e-4)
        assert (0, 0) == (c0.any(), c1.any())

    def test_within_the_ranges(self):
        """Scale and angle stay within what the recipe says, and use all of it; none is mirrored by the map."""
        a0, a1, _, b0, b1, *_ = draw_transforms(2000, (32, 32), EVERYTHING, np.random.default_rng(0)).T
        determinant = a0 * b1 - a1 * b0
        scale = np.sqrt(determinant)
        angle = np.rad2deg(np.arctan2(-a1, b1))
        np.testing.assert_allclose([0.8, 1.2], [scale.min(), scale.max()], atol=0.01)
        np.testing.assert_allclose([-30, 30], [angle.min(), angle.max()], atol=0.5)
        assert determinant.min() > 0

    def test_quarter_turn(self):
        """90 degrees about the centre are the quarter turn of NumPy: columns become rows, exactly."""
        image = synthetic.batch(1, seed=0)[0]
        turn = np.array([[0, -1, 31, 1, 0, 0, 0, 0]], np.float32)
        options = {"interpolation": "bilinear", "fill_mode": "reflect"}
        found = keras.ops.image.affine_transform(image.astype(np.float32), turn, **options)
        np.testing.assert_array_equal(np.rot90(image[0], 1), keras.ops.convert_to_numpy(found)[0])
