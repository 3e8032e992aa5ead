"""Feature maps of clean and adversarial images, with and without a block: ``python docs/_pictures/denoising.py``.

Two nets are trained on the same rows for the same time by PGD, which takes some minutes of CPU, or taken from
``runs/pictures``; a third one is trained on clean images.
"""

import io
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor, nn

import saddlepoint as sp
from saddlepoint.attacks import PGD
from saddlepoint.defenses.blocks import denoise
from saddlepoint.defenses.training import Adversarial, Objective, Schedule, Standard, fit
from saddlepoint.models import SmallCNN, load_weights, save_weights

ROOT = Path(__file__).parents[2]
PICTURE, KEPT = ROOT / "docs/images/denoising.png", ROOT / "runs/pictures"
BALL, LAYER, ROWS, SHOWN, MEASURED = (
    sp.Linf(0.1),
    "layers.1",
    10_000,
    (0, 1, 8),
    200,
)  # a boot, a pullover, a sandal
PAST = Adversarial(attack=PGD(ball=BALL, steps=4, step_size=0.05), warmup=0.4)
ZOOM, GAP, TITLE = 4, 8, 48


def blocked() -> nn.Module:
    """A net with non-local means (softmax) after its first layer."""
    return denoise(SmallCNN(), [LAYER], like=torch.zeros(1, 1, 28, 28), kind="softmax")


NETS: dict[str, tuple[Callable[[], nn.Module], Objective]] = {
    "trained on clean images": (SmallCNN, Standard()),
    "trained by PGD": (SmallCNN, PAST),
    "by PGD, with a block": (blocked, PAST),
}


def trained(name: str) -> nn.Module:
    """A net of NETS."""
    make, objective = NETS[name]
    torch.manual_seed(0)
    net, path = make(), KEPT / f"denoising-{name.replace(' ', '-').replace(',', '')}.safetensors"
    if not path.exists():
        KEPT.mkdir(parents=True, exist_ok=True)
        data = sp.load_data("fashion-mnist:train")[:ROWS]
        fit(net, data.x, data.y, objective, Schedule(epochs=4, peak=5e-3))
        save_weights(net, path)
    load_weights(net, path)
    return net.eval()


def maps(net: nn.Module, x: Tensor) -> Tensor:
    """(n, c, h, w) what the layer returns, and the block after it where there is one."""
    seen: list[Tensor] = []
    handle = net.get_submodule(LAYER).register_forward_hook(lambda _module, _args, out: seen.append(out))
    with torch.no_grad():
        net(x)
    handle.remove()
    return seen[0]


def picture(columns: dict[str, list[tuple[Tensor, Tensor]]]) -> bytes:
    """Pairs of images, clean and adversarial, in columns under their titles, each pair on one grey scale."""
    side = 28 * ZOOM
    wide = 2 * side + 4 * GAP
    card = Image.new("RGB", (len(columns) * wide, TITLE + len(SHOWN) * (side + GAP) + GAP), "white")
    draw, font = ImageDraw.Draw(card), ImageFont.load_default(13)
    for i, (title, pairs) in enumerate(columns.items()):
        draw.text((i * wide + wide / 2, 6), title, "#202020", font, "ma")
        for k, word in enumerate(("clean", "adversarial")):
            draw.text((i * wide + GAP + side / 2 + k * (side + GAP), 26), word, "#606060", font, "ma")
        for j, pair in enumerate(pairs):
            low, high = min(each.min() for each in pair), max(each.max() for each in pair)
            for k, each in enumerate(pair):
                grey = ((each - low) / (high - low).clamp_min(1e-9)).mul(255).round().to(torch.uint8)
                tile = Image.fromarray(grey.numpy()).resize((side, side), Image.Resampling.NEAREST)
                card.paste(tile, (i * wide + GAP + k * (side + GAP), TITLE + j * (side + GAP)))
    out = io.BytesIO()
    card.save(out, "PNG", optimize=True)
    return out.getvalue()


def main() -> None:
    """Draw it, and say how far the maps are apart."""
    torch.set_num_threads(1)
    data = sp.load_data("fashion-mnist:test")[:MEASURED]
    columns: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name in NETS:
        net = trained(name)
        model = sp.Classifier(net)
        result = PGD(ball=BALL, steps=40)(model, data.x, data.y)
        clean, hostile = maps(net, data.x), maps(net, result.x)
        apart = ((hostile - clean).flatten(1).norm(dim=1) / clean.flatten(1).norm(dim=1)).mean()
        right = (model.predict(data.x) == data.y).float().mean()
        held = (~result.success).float().mean()
        print(f"{name}: clean {right:.1%}, PGD-40 {held:.1%}, maps differ by {apart:.3f} of their norm on average")
        if not columns:
            columns["images"] = [(data.x[i, 0], result.x[i, 0]) for i in SHOWN]
        channel = int(clean.flatten(2).std(2).mean(0).argmax())  # the one that shows most
        columns[name] = [(clean[i, channel], hostile[i, channel]) for i in SHOWN]
    PICTURE.write_bytes(picture(columns))


if __name__ == "__main__":
    main()
