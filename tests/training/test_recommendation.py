"""Which recipe suits a source whose user named none."""

import pytest

from lince.data import Overview
from lince.training import recipes
from lince.training.recommendation import prefers_scratch, recommend, trial_seconds


def seen(per_class: int, *, is_grey: bool = False, side: int = 32) -> Overview:
    """Ten classes of so many training images."""
    return Overview(num_train=10 * per_class, num_classes=10, num_sampled=64, is_grey=is_grey, side=side)


class TestRecommend:
    @pytest.mark.parametrize("side", [28, 500, 3000])
    @pytest.mark.parametrize("per_class", [2, 999])
    def test_few_pictures_in_colour(self, per_class, side):
        """The pretrained network, whatever their size."""
        found = recommend(seen(per_class, side=side))
        assert ("photos", False) == (found.chosen.name, found.is_tried)
        assert f"in colour, with {per_class} training images a class" in found.why

    def test_many_pictures_in_colour(self):
        """A network from scratch is as accurate, and smaller."""
        found = recommend(seen(1000))
        assert ("default", "photos", False) == (found.chosen.name, found.other.name, found.is_tried)
        assert () == found.chosen.overrides

    @pytest.mark.parametrize(("side", "expected"), [(63, "default"), (64, "photos"), (3000, "photos")])
    def test_many_large_pictures_in_colour(self, side, expected):
        """A network from scratch would see them at 32 × 32."""
        assert expected == recommend(seen(2000, side=side)).chosen.name

    @pytest.mark.parametrize("per_class", [40, 5000])
    def test_grey_pictures_are_tried(self, per_class):
        """Their colour and number do not decide."""
        found = recommend(seen(per_class, is_grey=True))
        assert ("photos", True) == (found.chosen.name, found.is_tried)

    @pytest.mark.parametrize(("side", "expected"), [(28, "default"), (63, "default"), (64, "photos-scratch")])
    def test_from_scratch_by_the_size(self, side, expected):
        """Small pictures are read at 32 × 32, larger ones at 96 × 96."""
        assert expected == recommend(seen(50, side=side)).other.name

    @pytest.mark.parametrize("side", [28, 300])
    @pytest.mark.parametrize("per_class", [3, 40, 300, 5000])
    @pytest.mark.parametrize("is_grey", [False, True])
    def test_its_options_are_valid(self, per_class, side, is_grey):
        """Both recipes can be loaded with their overrides, and the options name them."""
        found = recommend(seen(per_class, side=side, is_grey=is_grey))
        for candidate in (found.chosen, found.other):
            recipe = recipes.load(candidate.name, candidate.overrides)
            assert ("--recipe", recipe.name) == candidate.options[:2]
            assert len(candidate.overrides) == len(candidate.options) - 2

    @pytest.mark.parametrize(
        ("per_class", "side", "epochs"), [(2, 160, 28), (20, 160, 14), (200, 160, 7), (900, 128, 4)]
    )
    def test_few_images_are_seen_larger_and_more_often(self, per_class, side, epochs):
        """The pretrained network takes about as long for 200 images as for 9,000."""
        found = recipes.load("photos", recommend(seen(per_class)).chosen.overrides)
        assert (side, epochs, "random") == (found.image_size, found.train.epochs, found.augment.horizontal_flip)
        assert found.augment.translate == 3 * side // 32

    @pytest.mark.parametrize(("per_class", "epochs"), [(3, 46), (50, 46), (240, 26), (999, 16)])
    def test_few_images_from_scratch_take_about_a_thousand_steps(self, per_class, epochs):
        """The recipe's epochs are those of tens of thousands of images."""
        found = recipes.load("default", recommend(seen(per_class, is_grey=True)).other.overrides)
        assert epochs == found.train.epochs

    def test_time_budget_decides_the_epochs(self):
        """They are not set, and a short budget reads smaller images."""
        for seconds, side in ((60, 128), (600, 160)):
            overrides = recommend(seen(20), seconds=seconds).chosen.overrides
            assert not any("epochs" in one for one in overrides)
            assert side == recipes.load("photos", overrides).image_size

    def test_grey_pictures_are_not_mirrored(self):
        """By neither recipe."""
        found = recommend(seen(40, is_grey=True))
        for candidate in (found.chosen, found.other):
            assert recipes.load(candidate.name, candidate.overrides).augment.horizontal_flip == "none"

    def test_few_grey_pictures_from_scratch(self):
        """Not mirrored, in small batches, with enough images to calibrate with."""
        other = recommend(seen(40, is_grey=True)).other
        found = recipes.load(other.name, other.overrides)
        assert ("none", 50, 0.15) == (
            found.augment.horizontal_flip,
            found.train.batch_size,
            found.train.validation_fraction,
        )


class TestTrial:
    @pytest.mark.parametrize(("head", "scratch", "expected"), [(0.85, 0.96, True), (0.85, 0.9, False), (1, 1, False)])
    def test_from_scratch_must_be_clearly_better(self, head, scratch, expected):
        """With less than half of the head's mistakes, since fine-tuning removes many of them."""
        assert expected == prefers_scratch(head=head, scratch=scratch)

    def test_a_short_budget_has_no_trial(self):
        """A sixth of it would not be enough to learn anything."""
        assert (None, 50) == (trial_seconds(60), trial_seconds(300))
