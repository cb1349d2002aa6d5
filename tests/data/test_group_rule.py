"""Groups that the user names, by folder or by a pattern of file names."""

import random
import re
import time

import numpy as np
import pytest

from lince.data.group_rule import _Pattern, across_splits, check_rule, named_groups
from lince.errors import DataError
from lince.types import Split


def split_of(*names: str) -> Split:
    """Black images with these names."""
    return Split(np.zeros((len(names), 1, 1, 3), np.uint8), np.zeros(len(names), np.int64), ("a",), names)


class TestPattern:
    @pytest.mark.parametrize(
        ("pattern", "name", "group"),
        [
            ("{group}_*.jpg", "cat/film1_001.jpg", "film1"),
            ("{group}_*.jpg", "cat/deep/film_1_001.jpg", "film_1"),
            ("{group}_*_*.jpg", "cat/p12_left_3.jpg", "p12"),
            ("{group}_*.jpg", "cat/film1_001.JPG", "film1"),
            ("{group}_*.jpg", "cat/film1_001.png", None),
            ("{group}_*.jpg", "cat/_001.jpg", None),
            ("{group}????.png", "cat/A0001.png", "A"),
            ("{group}????.png", "cat/0001.png", None),
            ("frame-*-{group}.*", "cat/frame-7-beach.jpg", "beach"),
            ("{group}/*", "cat/beach/1.jpg", "beach"),
            ("{group}/{group}_*", "cat/beach/a_1.jpg", "beach/a"),
            ("{group}-{group}-*", "cat/x-y-1.jpg", "x/y"),
            ("{group}/*/*", "beach/1.jpg", None),
            ("cat/{group}.jpg", "data/cat/1.jpg", "1"),
            ("{group}(1)[a]+.jpg", "cat/x(1)[a]+.jpg", "x"),
            ("caf\u00e9{group}", "cat/cafe\u03011", "1"),
        ],
    )
    def test_examples(self, pattern, name, group):
        """Parts are matched from the end of the path; the first wildcard takes as much as it can."""
        assert group == _Pattern(pattern).group(name)

    @pytest.mark.parametrize("seed", range(200))
    def test_agrees_with_a_search_of_all_places(self, seed):
        """Never going back finds what a regular expression finds that tries every place, the longest match first."""
        rng = random.Random(seed)
        parts = [rng.choice(["a", "b", "?", "*", "{group}"]) for _ in range(rng.randint(0, 6))]
        parts.insert(rng.randint(0, len(parts)), "{group}")
        name = "".join(rng.choice("ab") for _ in range(rng.randint(0, 9)))
        searching = {"?": ".", "*": ".*", "{group}": "(.+)"}
        match = re.fullmatch("".join(searching.get(part, part) for part in parts), name)
        assert (match and "/".join(match.groups())) == _Pattern("".join(parts)).group(name)

    def test_time_is_bounded(self):
        """A pattern and a name that would keep a search that goes back busy for years."""
        began = time.perf_counter()
        assert _Pattern("*a" * 50 + "{group}b").group("a" * 20_000 + "c") is None
        assert _Pattern("b{group}" + "a*" * 50).group("a" * 20_000) is None
        assert time.perf_counter() - began < 5


class TestNamedGroups:
    def test_by_pattern(self):
        """Groups may be in several classes; an image that does not match is its own group."""
        split = split_of("cat/a_1.jpg", "cat/b_1.jpg", "cat/other.jpg", "dog/a_2.jpg")
        found = named_groups(split, "{group}_*.jpg", source="pictures")
        assert [0, 1, 2, 0] == found.groups.tolist()
        assert "3 of 4 images are in 2 groups of --groups {group}_*.jpg, such as 'cat/a_1.jpg' in 'a'." == found.reading

    @pytest.mark.parametrize("make", ["make_tree", "make_zip"])
    def test_by_folder(self, make, request):
        """The folder that directly holds the image; one directly in its class folder is its own group."""
        names = ("home/cat/1.png", "home/cat/film/1.png", "home/cat/film/2.png", "home/cat/film/b/1.png")
        names += ("home/dog/1.png", "home/dog/film/1.png")
        source = request.getfixturevalue(make)({name: place for place, name in enumerate(names)})
        found = named_groups(split_of(*names), "folder", source=source)
        assert [0, 1, 1, 3, 4, 5] == found.groups.tolist()
        assert {1: "cat/film", 3: "cat/film/b", 5: "dog/film"} == found.names

    def test_folder_of_one_name_in_both_splits(self, make_tree):
        """It is one group, wherever the folders of the splits are."""
        for names in (
            ("train/cat/film/1.png", "train/dog/1.png", "test/cat/film/2.png", "test/dog/2.png"),
            ("cat/train/film/1.png", "dog/train/1.png", "cat/test/film/2.png", "dog/test/2.png"),
        ):
            source = make_tree({name: place for place, name in enumerate(names)}, names[0].replace("/", "-"))
            found = named_groups(split_of(*names), "folder", source=source)
            assert [0, 1, 0, 3] == found.groups.tolist()
            (sentence,) = across_splits(found, num_train=2)
            assert sentence.startswith("1 group ('cat/film') with 1 test image are in both splits of the source, so")

    def test_nothing_in_both_splits(self, make_tree):
        """Nothing is said."""
        names = ("train/cat/a/1.png", "train/dog/1.png", "test/cat/b/2.png", "test/dog/2.png")
        source = make_tree({name: place for place, name in enumerate(names)})
        assert () == across_splits(named_groups(split_of(*names), "folder", source=source), num_train=2)

    def test_pattern_that_matches_nothing(self):
        """The message shows a name."""
        message = r"--groups '\{group\}-\*' matches no image of 'pictures', such as 'cat/a_1\.jpg'\. Expected \{group\}"
        with pytest.raises(DataError, match=message):
            named_groups(split_of("cat/a_1.jpg"), "{group}-*", source="pictures")

    def test_no_folders(self, make_tree):
        """The message says what was looked for."""
        names = ("cat/1.png", "dog/1.png")
        source = make_tree({name: place for place, name in enumerate(names)})
        with pytest.raises(DataError, match=r"finds no image of .*in a folder below its class folder; one is 'cat/1"):
            named_groups(split_of(*names), "folder", source=source)


@pytest.mark.parametrize("rule", ["", "folders", "*_1.jpg", "{groups}"])
def test_rules_that_are_none(rule):
    """Refused before an image is read."""
    with pytest.raises(DataError, match=r"Received --groups .*Expected the word 'folder', or a pattern .*\{group\}"):
        check_rule(rule)


def test_rules():
    """The word, and whatever names a group."""
    check_rule("folder")
    check_rule("{group}_*.jpg")
