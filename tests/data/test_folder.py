import sys

import numpy as np
import pytest
import torch
from PIL import Image

from saddlepoint.data import folder, load_data
from saddlepoint.errors import DataError, MissingExtraError


def picture(path, mode="RGB", size=(6, 4), value=None):
    """Save an image of this size (width, height): random pixels, or all of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (size[1], size[0], len(Image.new(mode, (1, 1)).getbands()))
    pixels = np.random.default_rng(len(path.name)).integers(0, 256, shape) if value is None else np.full(shape, value)
    image = Image.fromarray(pixels.astype(np.uint8).squeeze(2) if shape[2] == 1 else pixels.astype(np.uint8), mode=None)
    assert image.mode == mode
    image.save(path)
    return pixels


def load(root, suffix=""):
    return load_data(f"folder:{root}{suffix}")


@pytest.mark.parametrize(("mode", "channels"), [("RGB", 3), ("L", 1)])
@pytest.mark.parametrize("ending", ["png", "PNG", "bmp", "tiff", "ppm"])
def test_pixels_come_as_they_are(tmp_path, mode, channels, ending):
    pixels = picture(tmp_path / "birds/cat" / f"a.{ending}", mode)
    data = load(tmp_path / "birds")
    assert data.x.shape == (1, channels, 4, 6)
    assert torch.equal(data.x[0], torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)
    assert data.name == "folder:birds"


def test_rows_go_round_the_classes_in_order_of_names(tmp_path):
    for i, name in enumerate(["b/2.png", "b/10.png", "a/z.png", "c/x.png", "c/w.png", "c/y.png"]):
        picture(tmp_path / name, "L", value=i)
    data = load(tmp_path)
    assert data.classes == ("a", "b", "c")
    assert data.y.tolist() == [0, 1, 2, 1, 2, 2]
    assert (data.x[:, 0, 0, 0] * 255).round().tolist() == [2, 1, 4, 0, 3, 5]
    assert load(tmp_path).fingerprint == data.fingerprint


def test_grey_among_colour_becomes_colour(tmp_path):
    picture(tmp_path / "a/colour.png")
    grey = picture(tmp_path / "a/grey.png", "L")
    data = load(tmp_path)
    assert data.x.shape == (2, 3, 4, 6)
    for channel in data.x[1]:
        assert torch.equal(channel, torch.from_numpy(grey[..., 0]).float() / 255)


def test_hidden_and_other_files_are_left_out_and_empty_classes_counted(tmp_path):
    picture(tmp_path / "b/1.png")
    picture(tmp_path / ".hidden/1.png")
    picture(tmp_path / "b/.2.png")
    (tmp_path / "b/notes.txt").write_text("text")
    (tmp_path / "readme.txt").write_text("text")
    (tmp_path / "a").mkdir()
    data = load(tmp_path)
    assert data.classes == ("a", "b")
    assert data.y.tolist() == [1]


def test_splits_share_their_classes(tmp_path):
    for name in ("train/b/1.png", "train/a/1.png", "test/b/1.png", "test/c/1.png"):
        picture(tmp_path / "set" / name)
    train, test = (load(tmp_path / "set", f":{split}") for split in ("train", "test"))
    assert train.classes == test.classes == ("a", "b", "c")
    assert (train.y.tolist(), test.y.tolist()) == ([0, 1], [1, 2])
    assert (train.name, test.name) == ("folder:set:train", "folder:set:test")
    assert load(tmp_path / "set/test").classes == ("b", "c")
    assert load(tmp_path / "set", "@2:test").name == "folder:set@2:test"


@pytest.mark.parametrize("size", [(64, 32), (32, 64), (8, 20), (16, 16)])
def test_size_covers_and_cuts_the_middle(tmp_path, size):
    pixels = np.zeros((size[1], size[0]), np.uint8)
    middle, half = (size[1] // 2, size[0] // 2), min(size) // 2
    pixels[middle[0] - half : middle[0] + half, middle[1] - half : middle[1] + half] = 255
    (tmp_path / "a").mkdir()
    Image.fromarray(pixels).save(tmp_path / "a/1.png")
    data = load(tmp_path, "@16")
    assert data.x.shape == (1, 1, 16, 16)
    assert data.x.mean() > 0.95  # the white square in the middle, nothing else
    assert data.name.endswith("@16")


def test_images_of_several_sizes_need_one(tmp_path):
    for name, size in (("a/1.png", (6, 4)), ("b/1.png", (6, 5))):
        picture(tmp_path / "set" / name, size=size)
    said = "'b/1.png' has 6 x 5 pixels, 'a/1.png' 6 x 4; all must have one size: folder:PATH@4 "
    with pytest.raises(DataError, match=said):
        load(tmp_path / "set")
    assert load(tmp_path / "set", "@4").x.shape == (2, 3, 4, 4)


@pytest.mark.parametrize(
    "content", [b"", b"no image", b"\x89PNG\r\n\x1a\n\0\0", b"GIF89a", b"%!PS-Adobe-3.0 EPSF-3.0\n"]
)
def test_broken_image_is_named(tmp_path, content):
    picture(tmp_path / "a/1.png")
    picture(tmp_path / "b/1.png")
    (tmp_path / "b/2.png").write_bytes(content)
    with pytest.raises(DataError, match="folder: 'b/2.png' is no readable image .*; replace it, or take it out") as e:
        load(tmp_path)
    assert str(tmp_path) not in str(e.value)


def test_the_first_of_several_broken_images_is_named(tmp_path):
    for i in range(30):
        picture(tmp_path / f"a/{i:02}.png")
    for i in (7, 8, 20):
        (tmp_path / f"a/{i:02}.png").write_bytes(b"broken")
    for _ in range(5):
        with pytest.raises(DataError, match="'a/07.png' is no readable image"):
            load(tmp_path)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, about damaged metadata
@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "tiff", "webp", "ppm"])
def test_damage_anywhere_is_a_data_error(tmp_path, ending):
    path = tmp_path / "a" / f"1.{ending}"
    picture(path, size=(9, 7))
    whole, random = path.read_bytes(), np.random.default_rng(0)
    for share in (0.2, 0.5, 0.8):
        path.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(DataError, match="is no readable image"):
            load(tmp_path)
    for _ in range(60):
        damaged = bytearray(whole)
        damaged[random.integers(0, len(whole))] = random.integers(0, 256)
        path.write_bytes(damaged)
        try:
            load(tmp_path)
        except DataError:
            continue


def test_link_to_nothing_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(DataError, match="'a/1.png' is no readable image .FileNotFoundError."):
        load(tmp_path)


def test_transparency_must_not_hide_pixels(tmp_path):
    opaque = picture(tmp_path / "a/1.png", "RGBA", value=255)
    assert torch.equal(load(tmp_path).x, torch.ones(1, 3, 4, 6))
    assert opaque.shape == (4, 6, 4)
    picture(tmp_path / "a/2.png", "RGBA", value=254)
    with pytest.raises(DataError, match="'a/2.png' is transparent in places; save it on a background"):
        load(tmp_path)


def test_palette_and_grey_with_alpha(tmp_path):
    (tmp_path / "a").mkdir()
    red = Image.new("RGB", (2, 2), (255, 0, 0)).quantize(4)
    red.save(tmp_path / "a/1.png", transparency=b"\xff\xff")  # a palette with every colour opaque
    assert torch.equal(load(tmp_path).x[0, :, 0, 0], torch.tensor([1.0, 0.0, 0.0]))
    red.save(tmp_path / "a/1.png", transparency=0)
    with pytest.raises(DataError, match="'a/1.png' is transparent in places"):
        load(tmp_path)
    Image.new("LA", (2, 2), (51, 255)).save(tmp_path / "a/1.png")
    assert torch.equal(load(tmp_path).x, torch.full((1, 1, 2, 2), 51.0) / 255)


def test_sixteen_bits_are_refused(tmp_path):
    (tmp_path / "a").mkdir()
    Image.fromarray(np.full((2, 2), 40_000, np.uint16)).save(tmp_path / "a/1.png")
    with pytest.raises(DataError, match="'a/1.png' has pixels of type 'I;16'; save it with 8 bits, grey or RGB"):
        load(tmp_path)


def test_folders_in_folders_are_not_taken_for_classes(tmp_path):
    picture(tmp_path / "set/train/a/1.png")
    with pytest.raises(
        DataError, match="'set' holds 'train/a', folders in folders; .*folder:PATH:train for PATH/train"
    ):
        load(tmp_path / "set")


def test_no_image_or_no_folder(tmp_path):
    (tmp_path / "set/a").mkdir(parents=True)
    with pytest.raises(DataError, match="'set' has 1 class folders, and no image in them; put images"):
        load(tmp_path / "set")
    picture(tmp_path / "flat/1.png")
    with pytest.raises(DataError, match="'flat' has 0 class folders"):
        load(tmp_path / "flat")
    with pytest.raises(
        DataError, match="there is no folder 'gone'; write folder:PATH, folder:PATH@32 or folder:PATH:t"
    ):
        load(tmp_path / "gone")
    with pytest.raises(DataError, match="there is no folder 'set/test'"):
        load(tmp_path / "set", ":test")
    with pytest.raises(DataError, match="there is no folder 'set@0'"):
        load(tmp_path / "set@0")


def test_what_the_system_refuses_is_told(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(folder.os, "scandir", refuse)
    with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); see that you may read it"):
        load(tmp_path)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(MissingExtraError, match="Pillow"):
        load(tmp_path)


def test_names_that_are_no_text_can_still_be_written(tmp_path):
    picture(tmp_path / "caf\udce9/1.png")
    assert load(tmp_path).classes == ("caf\\xe9",)
