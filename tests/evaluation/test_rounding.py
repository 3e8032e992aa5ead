"""Images of adversarial examples: what the file holds is judged, not what was meant to be in it."""

import io
import re
import sys

import pytest
import torch
from PIL import Image
from torch import nn

import saddlepoint as sp
from saddlepoint.balls import Bounds
from saddlepoint.data import Dataset
from saddlepoint.errors import MissingExtraError, SettingError
from saddlepoint.evaluation import checked_plan
from saddlepoint.evaluation.examples import export
from saddlepoint.evaluation.rounding import file_names, require_images, through_file
from saddlepoint.result import AttackResult

LEVEL = 1 / 255


class Uneven(nn.Module):
    """Class 1 for images with a level that is a fifth or more away from an even one; all rows here are even."""

    def __init__(self, bounds):
        super().__init__()
        self.bounds = bounds

    def forward(self, x):
        level = (x - self.bounds.lower) / self.bounds.width * 255
        away = (level - 2 * (level / 2).round()).abs().flatten(1).amax(1)
        return torch.stack([torch.full_like(away, 0.2), away], 1)


def even(channels=1, bounds=Bounds(), rows=12):
    """Images of even levels, away from black and white, all of class 0."""
    drawn = torch.randint(10, 110, (rows, channels, 4, 5), generator=torch.Generator().manual_seed(0))
    x = bounds.lower + 2 * drawn / 255 * bounds.width
    classes = ("even", "odd")
    return Dataset(
        x, torch.zeros(rows, dtype=torch.int64), classes=classes, name="even", bounds=tuple(vars(bounds).values())
    )


class Moved:
    """An attack that returns ``move(x)``; what fools is for the judge to say."""

    name = "moved"

    def __init__(self, move):
        self.move = move

    def __call__(self, model, x, y, *, target=None, noise=None, limits=None):
        n, none = len(x), torch.zeros(len(x), dtype=torch.bool)
        whole = torch.ones(n, dtype=torch.int64)
        return AttackResult(
            x=self.move(x), success=none, undefined=none, loss=torch.zeros(n), distance=torch.zeros(n),
            forwards=whole, backwards=whole, solved_at=whole,
        )  # fmt: skip


def shift(levels, bounds=Bounds()):
    """Rows that begin bright move by one whole level, the others by ``levels``."""

    def move(x):
        size = torch.where(x.flatten(1)[:, 0] > bounds.lower + 0.5 * bounds.width, 1.0, levels)
        return x + size.view(-1, 1, 1, 1) * LEVEL * bounds.width

    return move


def exported(folder, data, move, eps, bounds=Bounds(), **options):
    ball = sp.Linf(eps * bounds.width)
    model = sp.Classifier(Uneven(bounds), bounds=bounds)
    plan = checked_plan({"uneven": model}, data, balls=[ball], attacks=[Moved(move)])
    return export(plan, folder, png=True, **options)


def files(folder):
    return sorted(path.name for path in (folder / "png").iterdir())


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1.0, 1.0), Bounds(0.0, 255.0)])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_decision_that_rounding_flips_back_is_not_counted(tmp_path, channels, bounds):
    data = even(channels, bounds)
    whole = int((data.x.flatten(1)[:, 0] > bounds.lower + 0.5 * bounds.width).sum())
    assert 0 < whole < len(data)
    about = exported(tmp_path, data, shift(0.4, bounds), LEVEL, bounds).about
    assert (about["fooled"], about["png_files"]) == (len(data), len(data))
    assert about["png_fooled"] == about["png_fooled_inside"] == whole
    assert about["png_largest_distance"] == pytest.approx(LEVEL * bounds.width, rel=1e-4)
    assert len(files(tmp_path)) == len(data)


def test_rounding_can_leave_the_ball_and_that_is_told(tmp_path):
    data = even()
    about = exported(tmp_path, data, lambda x: x + 0.6 * LEVEL, 0.7 * LEVEL).about
    assert (about["fooled"], about["png_fooled"], about["png_fooled_inside"]) == (len(data), len(data), 0)
    assert about["png_largest_distance"] == pytest.approx(LEVEL, rel=1e-4)


def test_eps_and_inputs_on_the_grid_stay_inside(tmp_path):
    data = even()
    torch.manual_seed(0)
    ball = sp.Linf(8 * LEVEL)
    model = sp.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(20, 4)))
    labels = model.predict(data.x)
    data = Dataset(data.x, labels, classes=tuple("abcd"), name="grid")
    plan = checked_plan({"net": model}, data, balls=[ball], attacks=["pgd"])
    about = export(plan, tmp_path, png=True).about
    assert about["png_files"] > 0
    assert about["png_fooled_inside"] == about["png_fooled"]
    assert about["png_largest_distance"] <= 8 * LEVEL * (1 + 1e-5)


def test_targets_are_asked_of_the_files_too(tmp_path):
    data, ball = even(), sp.Linf(LEVEL)
    model, attack = sp.Classifier(Uneven(Bounds())), Moved(shift(0.4))
    for target, fooled in (("1", 12), ("0", 0)):
        plan = checked_plan({"uneven": model}, data, balls=[ball], attacks=[attack], target=target)
        about = export(plan, tmp_path / target, png=True).about
        assert about["png_files"] == fooled
        assert (0 < about["png_fooled"] < fooled) == bool(fooled)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_the_file_says_comes_back(tmp_path, channels):
    x = torch.rand(channels, 3, 7, generator=torch.Generator().manual_seed(0))
    read = through_file(x, tmp_path / "a.png", Bounds())
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as image:
        assert (image.size, image.mode) == ((7, 3), "L" if channels == 1 else "RGB")
        levels = torch.tensor(list(image.tobytes())).view(3, 7, channels).permute(2, 0, 1)
    assert torch.equal(read, levels / 255)
    assert torch.equal(levels, (x * 255).round().long())


def test_the_bytes_of_the_file_are_judged(tmp_path, monkeypatch):
    from saddlepoint.evaluation import pictures

    plain = pictures.png
    monkeypatch.setattr(pictures, "png", lambda image: plain(torch.zeros_like(image)))
    data = even()
    about = exported(tmp_path, data, shift(1.0), LEVEL).about
    assert (about["png_files"], about["png_fooled"]) == (len(data), 0)


HOSTILE = ("../../etc/passwd", "a/b\\c", ".", "", "con:\x00\n", "猫", "x" * 300)


def test_names_are_tame_and_differ_whatever_the_classes_are_called():
    k = len(HOSTILE)
    rows, y = torch.arange(k), torch.arange(k)
    names = file_names(rows, y, (y + 1) % k, HOSTILE)
    assert len(set(names)) == k
    for name in names:
        assert re.fullmatch(r"row-\d{6}-[A-Za-z0-9-]+-as-[A-Za-z0-9-]+\.png", name), name
        assert len(name) < 120
    assert names[0] == "row-000000-etc-passwd-as-a-b-c.png"
    assert names[2] == "row-000002-2-as-3.png"  # nothing of the name is left: the class index
    assert file_names(torch.tensor([-5]), y[:1], torch.tensor([99]), ("a",)) == ["row--00005-a-as-99.png"]


def test_hostile_class_names_stay_in_the_folder(tmp_path):
    data = even()
    data = Dataset(data.x, data.y, classes=("../../up", "a/b"), name="even")
    exported(tmp_path / "out", data, shift(1.0), LEVEL)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert files(tmp_path / "out")[0] == "row-000000-up-as-a-b.png"


def test_older_images_of_ours_are_replaced_and_others_stay(tmp_path):
    data = even()
    exported(tmp_path, data, shift(1.0), LEVEL)
    known = files(tmp_path)
    for name in ("row-000003-even-as-cat.png", "mine.png"):
        (tmp_path / "png" / name).write_bytes(b"")
    exported(tmp_path, data, shift(1.0), LEVEL)
    assert files(tmp_path) == sorted([*known, "mine.png"])


def test_where_nothing_is_fooled_there_are_no_images(tmp_path):
    about = exported(tmp_path, even(), lambda x: x, LEVEL).about
    assert (about["png_files"], about["png_fooled"], about["png_largest_distance"]) == (0, 0, None)
    assert files(tmp_path) == []


def test_progress_is_told_of_images(tmp_path):
    told = []
    exported(tmp_path, even(), shift(1.0), LEVEL, progress=lambda *said: told.append(said))
    assert told[-1] == (12, 12, "images")


@pytest.mark.parametrize("shape", [(4, 2, 5, 5), (4, 25)])
def test_rows_that_are_no_images_are_refused_before_anything_runs(tmp_path, shape):
    data = Dataset(torch.zeros(shape), torch.zeros(4, dtype=torch.int64), classes=("a", "b"), name="flat")
    with pytest.raises(SettingError, match=r"png needs images .* flat has rows of shape .*; leave --png out"):
        require_images(data)
    model = sp.Classifier(nn.Sequential(nn.Flatten(), nn.Linear(data.x[0].numel(), 2)))
    plan = checked_plan({"net": model}, data, balls=[sp.Linf(0.1)], attacks=["fgsm"])
    with pytest.raises(SettingError, match="png needs images"):
        export(plan, tmp_path / "out", png=True)
    assert not (tmp_path / "out").exists()


def test_without_pillow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match=r"saddlepoint\[cli\]"):
        require_images(even())
