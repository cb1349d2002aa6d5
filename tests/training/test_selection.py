"""Turns show every image once, or leave out some of those that the network knows."""

import numpy as np
import pytest

from lince.training.selection import Selection

COUNT, SIZE = 1000, 64
EASY = np.arange(COUNT) < 700


def selected(*, skip: float, share: float = 0.5, seen: bool = True, seed: int = 0) -> list[np.ndarray]:
    """The batches of a turn after 700 images were easy and 300 were not."""
    selection = Selection(COUNT, skip=skip, batch_size=SIZE)
    if seen and skip:
        selection.record(np.arange(COUNT), np.where(EASY, 0.1, 2.0).astype(np.float32))
    return selection.batches(np.random.default_rng(seed), share=share)


@pytest.mark.parametrize(
    "options",
    [{"skip": 0.0}, {"skip": 0.5, "seen": False}, {"skip": 0.5, "share": 0.9}],
    ids=["none asked for", "none known", "at the end"],
)
def test_all(options):
    """Each image once, in random order, in batches of nearly one size, none above the recipe's."""
    batches = selected(**options)
    order = np.concatenate(batches)
    np.testing.assert_array_equal(np.arange(COUNT), np.sort(order))
    assert (order != np.arange(COUNT)).any()
    assert {62, 63} == {len(batch) for batch in batches}


def test_leaves_out_a_share_of_the_easy():
    """None of the others, and nobody twice."""
    order = np.concatenate(selected(skip=0.5))
    shown = np.bincount(order, minlength=COUNT)
    assert 1 == shown.max()
    assert 0.4 < shown[EASY].mean() < 0.6
    assert shown[~EASY].all()


@pytest.mark.parametrize(("count", "size"), [(120, 64), (510, 128), (43_700, 1000), (7, 3)])
def test_shows_whatever_is_not_easy(count, size):
    """Whole batches are filled with easy images, not cut from the others."""
    selection = Selection(count, skip=0.5, batch_size=size)
    easy = np.arange(count) < count // 2
    selection.record(np.arange(count), np.where(easy, 0.1, 2.0).astype(np.float32))
    batches = selection.batches(np.random.default_rng(0), share=0.5)
    shown = np.bincount(np.concatenate(batches), minlength=count)
    assert shown[~easy].all()
    assert 1 == shown.max()
    assert max(len(batch) for batch in batches) <= size


def test_every_size_was_seen_before():
    """A turn that shows less has fewer batches of the same sizes, so that nothing is compiled anew."""
    assert {len(batch) for batch in selected(skip=0.5)} <= {len(batch) for batch in selected(skip=0.0)}


def test_by_lot():
    """Another turn leaves out others."""
    first, second = (np.sort(np.concatenate(selected(skip=0.5, seed=seed))) for seed in (0, 1))
    assert not np.array_equal(first, second)


def test_an_image_that_was_not_seen_yet_is_shown():
    """Without a loss it is not taken for easy."""
    selection = Selection(COUNT, skip=0.99, batch_size=1)
    selection.record(np.arange(500), np.linspace(0, 1, 500, dtype=np.float32))
    order = np.concatenate(selection.batches(np.random.default_rng(0), share=0.5))
    assert set(range(250, COUNT)) <= set(order)
    assert len(order) < COUNT - 200


def test_fewer_images_than_a_batch():
    """One batch, whatever is left out."""
    selection = Selection(5, skip=0.9, batch_size=64)
    selection.record(np.arange(5), np.float32([0, 0, 0, 0, 9]))
    [batch] = selection.batches(np.random.default_rng(0), share=0.5)
    assert 4 in batch
