"""The list of models, for people."""

from dataclasses import replace

import pytest

from lince.model_file.catalog import CatalogEntry
from lince.reporting import catalog


@pytest.fixture
def entry(certificate) -> CatalogEntry:
    """A model that was trained from scratch."""
    return CatalogEntry("owls", "0123456789ab", 2_345_678, None, certificate)


def test_row(entry, certificate):
    """The int8 accuracy with the split and number of its images; the whole file's size; the certificate's latency."""
    [row] = catalog.catalog_table([entry]).rows
    assert ("owls", "2.3 MB", "81.45 %", "10,000 test", "nothing") == (*row[:2], *row[3:])
    assert f"{certificate.latency_us:.1f} µs" == row[2]


def test_pretraining_is_told_apart(entry):
    """A model that began with weights of other data says of which."""
    rows = catalog.catalog_table([entry, replace(entry, name="birds", pretrained_on="ImageNet-1k")]).rows
    assert ["nothing", "ImageNet-1k"] == [row[-1] for row in rows]


def test_one_machine_is_named_once(entry, certificate):
    """Models that were timed on the same machine share a sentence."""
    caption = catalog.catalog_table([entry, replace(entry, name="birds")]).caption
    assert 1 == caption.count(certificate.machine)
    assert "Compare latencies" not in caption


def test_two_machines_are_told_apart(entry, certificate):
    """Each machine is named with its models, and the reader is told not to compare across."""
    other = replace(entry, name="birds", certificate=replace(certificate, machine="a small board"))
    caption = catalog.catalog_table([entry, other, replace(other, name="bees")]).caption
    assert f"- owls: {certificate.machine}" in caption
    assert "- birds, bees: a small board" in caption
    assert "Compare latencies of one machine only" in caption
