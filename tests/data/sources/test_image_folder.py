"""A class-per-folder source is decoded on several threads, in order."""

from contextlib import closing

import numpy as np
import pytest

from lince.data.dataset import in_memory
from lince.data.sources.image_files import open_source
from lince.data.sources.image_folder import FolderReading
from lince.data.sources.zip_file import Archive
from lince.types import ImageSpec

SPEC = ImageSpec(height=8, width=8)


class CountingSource(Archive):
    """Counts what is read of it."""

    num_read = 0

    def read(self, entry, limit_bytes):
        self.num_read += 1
        return super().read(entry, limit_bytes)


class TestReadCollection:
    def test_threads_do_not_mix_images_up(self, make_zip, two_classes):
        """A few hundred images over many chunks stay with their names."""
        files = two_classes(200)
        with open_source(make_zip(files)) as source:
            collection = in_memory(FolderReading(source, SPEC))
        for image, name in zip(collection.images[::17], collection.names[::17], strict=True):
            pixels = np.random.default_rng(files[name]).integers(0, 256, (8, 8, 3), np.uint8)
            assert pixels.tolist() == image.tolist()

    def test_error_in_the_progress_stops_the_reading(self, make_zip, two_classes):
        """Ctrl-C arrives in the caller's thread: what has not begun is not begun."""
        done_when_stopped = []

        def interrupt(done: int, total: int, what: str) -> None:
            if done:
                done_when_stopped.append(done)
                raise KeyboardInterrupt

        with closing(CountingSource(make_zip(two_classes(1000)))) as source:
            with pytest.raises(KeyboardInterrupt):
                in_memory(FolderReading(source, SPEC, progress=interrupt))
            assert 1 == len(done_when_stopped)
            assert source.num_read < 1500
