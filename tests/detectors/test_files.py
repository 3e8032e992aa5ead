import json

import pytest
import torch
from detected import net_of

from saddlepoint import Classifier
from saddlepoint.defenses.transforms import BitDepth, Median
from saddlepoint.detectors import (
    LID,
    Confidence,
    FeatureSqueezing,
    Guarded,
    KDensity,
    Mahalanobis,
    load_detector,
    save_detector,
)
from saddlepoint.detectors.files import SCORERS
from saddlepoint.detectors.squeezing import JOINT, Squeezed
from saddlepoint.errors import SpecError, WeightsError

DETECTORS = [
    KDensity(kernels=20),
    Confidence(),
    LID(),
    Mahalanobis(layers=(None, "1"), eps=0.01),
    FeatureSqueezing((BitDepth(6),)),
]


@pytest.mark.parametrize("detector", DETECTORS)
def test_what_is_loaded_scores_as_what_was_saved(detector, model, rows, tmp_path):
    scorer = detector.fit(model, *rows)
    path = tmp_path / "detector.safetensors"
    save_detector(scorer, path, threshold=0.25)
    loaded = load_detector(path, model)
    assert torch.equal(loaded.scorer.scores(rows[0]), scorer.scores(rows[0]))
    assert loaded.threshold == 0.25
    one, two = (Guarded(model, s, 0.25).classifier.fingerprint for s in (scorer, loaded.scorer))
    assert one == two
    first = path.read_bytes()
    save_detector(loaded.scorer, path)
    assert path.read_bytes() == first
    assert load_detector(path, model).threshold is None


def test_the_joint_squeezers_are_the_published_ones():
    mnist = FeatureSqueezing.joint("mnist").squeezers
    assert [(s.name, s.settings()) for s in mnist] == [
        ("bit-depth", {"depth": 1, "mode": "round"}),
        ("median", {"height": 2, "width": 2}),
    ]
    assert FeatureSqueezing.joint("cifar10").squeezers[2].settings() == {"search": 13, "block": 3, "h": 2 / 255}
    assert FeatureSqueezing.joint("imagenet").squeezers[2].settings() == {"search": 11, "block": 3, "h": 4 / 255}
    assert all(len(FeatureSqueezing.joint(data).squeezers) == len(told) for data, told in JOINT.items())


def test_squeezers_are_rebuilt_from_their_names(tmp_path):
    torch.manual_seed(0)
    model = Classifier(torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 3)))
    scorer = Squeezed(model, (BitDepth(1), Median(2)))
    save_detector(scorer, tmp_path / "d.safetensors")
    x = torch.rand(20, 1, 6, 6)
    loaded = load_detector(tmp_path / "d.safetensors", model).scorer
    assert torch.equal(loaded.scores(x), scorer.scores(x))
    assert scorer.scores(x).max() > 0.01


def test_files_that_do_not_fit_are_refused(model, rows, tmp_path):
    path = tmp_path / "d.safetensors"
    save_detector(KDensity(kernels=5).fit(model, *rows), path)
    with pytest.raises(WeightsError, match=r"was fitted to another model"):
        load_detector(path, Classifier(net_of(seed=3)))
    content, about = path.read_bytes(), json.loads(path.with_suffix(".json").read_text())
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(WeightsError, match=r"was changed or damaged"):
        load_detector(path, model)
    path.write_bytes(content)
    path.with_suffix(".json").write_text(json.dumps({**about, "detector": "k-densty"}))
    with pytest.raises(SpecError, match=r"unknown detector 'k-densty'; did you mean 'k-density'"):
        load_detector(path, model)
    path.with_suffix(".json").write_text(json.dumps({**about, "settings": {"leyer": None}}))
    with pytest.raises(WeightsError, match=r"does not fit this version"):
        load_detector(path, model)
    path.with_suffix(".json").write_text("[]")
    with pytest.raises(WeightsError, match=r"does not describe a detector"):
        load_detector(path, model)
    with pytest.raises(WeightsError, match=r"cannot be read"):
        load_detector(tmp_path / "no.safetensors", model)
    with pytest.raises(WeightsError, match=r"cannot be written"):
        save_detector(Confidence().fit(model, *rows), tmp_path / "no" / "d.safetensors")


def test_every_scorer_has_its_own_name():
    assert all(kind.name == name for name, kind in SCORERS.items())
