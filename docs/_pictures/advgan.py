"""The picture of AdvGAN: eight digits, each moved to the next class by one generator.

``python docs/_pictures/advgan.py`` fits the generator, which takes minutes, or takes it from ``runs/pictures``; a fit
that was killed goes on.
"""

import torch

import saddlepoint as sp
from attacks import PICTURES, POINTS, Points, digits, sheet
from saddlepoint.attacks import AdvGAN, AdvGANAttack

SETTINGS = AdvGAN(ball=sp.Linf(0.3), target="every", epochs=20)
WRITTEN = 'AdvGAN(ball=Linf(0.3), target="every", epochs=20).fit(model, x, y)'


def fitted(model: sp.Classifier) -> AdvGANAttack:
    """The generator, for every class, fitted to the training digits."""
    POINTS.mkdir(parents=True, exist_ok=True)
    path, data = POINTS / "advgan.safetensors", sp.load_data("mnist10k:train")
    if not path.exists():
        SETTINGS.fit(model, data.x, data.y, checkpoint=path.with_suffix(".checkpoint")).save(path)
    return AdvGANAttack.load(path)


def main() -> None:
    """Draw it."""
    torch.set_num_threads(1)  # sums in the same order everywhere
    model = sp.load_model("zoo:mnist-lenet")
    data = digits(model)
    x = fitted(model)(model, data.x, data.y, target=(data.y + 1) % 10).x
    points = Points(data.x.squeeze(1), x.squeeze(1), data.y.tolist(), model.predict(x).tolist())
    (PICTURES / "advgan.png").write_bytes(sheet(points, sp.Linf, WRITTEN))
    print(points.said, points.distances(sp.Linf))


if __name__ == "__main__":
    main()
