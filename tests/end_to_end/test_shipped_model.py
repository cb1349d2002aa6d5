"""The models that ship, held to their certificates where the data that they were certified on is at hand."""

import json
from pathlib import Path

import pytest

from lince.evaluation import evaluated_model, robustness
from lince.language import LANGUAGES
from lince.model_file import artifact
from lince.publishing.model_card import markdown
from lince.quantization.certificate import table

DATA = Path(__file__).parents[3] / "shared" / "data" / "cifar10-jpeg.zip"


@pytest.mark.skipif(not DATA.exists(), reason="CIFAR-10 as JPEG files is not on this machine")
@pytest.mark.parametrize("name", artifact.shipped_models())
def test_shipped_model_keeps_its_certificate(lince, name):
    """The accuracy, coverage and abstention that the certificate and card promise are those of the file that ships."""
    certificate = artifact.read(artifact.locate(name)).manifest.certificate

    answer = lince("evaluate", name, str(DATA), "--split", "test", "--json")

    found = json.loads(answer.stdout)
    assert answer.returncode == 0
    assert certificate.comparison.n == found["report"]["n"]
    # Another processor may round the last step of a logit otherwise: one answer in a thousand is room enough.
    assert found["report"]["accuracy"]["value"] == pytest.approx(certificate.comparison.int8_accuracy, abs=1e-3)
    assert found["report"]["ece"] == pytest.approx(certificate.comparison.calibrated_ece, abs=1e-3)
    assert 0.94 <= found["sets"]["coverage"]["value"] <= 0.96


@pytest.mark.parametrize("name", artifact.shipped_models())
def test_shipped_model_lost_nothing_that_matters(name):
    """The certificate of the file that ships passed its gate, unforced, on ten thousand test images."""
    certificate = artifact.read(artifact.locate(name)).manifest.certificate

    assert certificate.split == "test"
    assert certificate.comparison.n == 10_000
    assert not certificate.forced
    assert certificate.comparison.drop_points.value <= certificate.bound_points


@pytest.mark.parametrize("name", artifact.shipped_models())
def test_shipped_model_has_its_verdict_in_every_language(name):
    """The page shows it in the visitor's; and the card holds the certificate as it is written today."""
    found = artifact.read(artifact.locate(name))
    others = {language for language in LANGUAGES if language != "en"}
    assert all(others == finding.translations.keys() for finding in found.manifest.verdict.findings)
    assert markdown(table(found.manifest.certificate, found.manifest.arithmetic)) in found.card


@pytest.mark.parametrize("name", artifact.shipped_models())
def test_shipped_model_does_not_know_pictures_of_nothing(name, monkeypatch):
    """Of each generated kind it answers four fifths or more with "I don't know"; the cards promise that and more."""
    monkeypatch.setattr(robustness, "OOD_IMAGES", 50)
    model = evaluated_model.open_file(artifact.locate(name))
    found = robustness.ood_report(model.predict, model.spec, num_classes=len(model.classes), fitted=model.fitted)
    assert min(score.abstained for score in found.generated) >= 0.8
