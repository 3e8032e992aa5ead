"""Records of trainings for tests of their report."""

from saddlepoint.training_record import Epoch, Event, TrainingRecord

CARD = {
    "description": "SmallCNN on mnist10k: FGSM from a random start",
    "parameters": 166_406,
    "sha256": "0123abcd" * 8,
    "recipe": {"name": "fast", "norm": "linf", "eps": 0.3, "optimizer": {"name": "adam"}, "clip": None},
    "environment": {"torch": "2.13.0", "threads": 1},
    "accuracy": {"data": "mnist10k:test", "rows": 2000, "clean": 0.97, "linf": {"eps": 0.3, "pgd-40": 0.875}},
}


def collapsed():
    """Five epochs; in the last one PGD accuracy falls while FGSM accuracy rises, and the guard rolls back."""
    shares = [(0.90, 0.70, 0.60), (0.94, 0.78, 0.70), (0.95, 0.81, 0.74), (0.96, 0.83, 0.75), (0.97, 0.99, 0.02)]
    return TrainingRecord(
        epochs=tuple(
            Epoch(number=i, loss=2.0 / i, rate=0.005 * (6 - i) / 5, seconds=3.5, clean=clean, fgsm=fgsm, pgd=pgd)
            for i, (clean, fgsm, pgd) in enumerate(shares, 1)
        ),
        events=(Event(epoch=5, reason="PGD accuracy fell from 75.0 % to 2.0 %", action="rolled back"),),
        planned=10, kept=4, ended="guard", forwards=140_000, backwards=140_000, validation=60_000,
        settings={"schedule": {"epochs": 10}, "data": "mnist10k:train"},
    )  # fmt: skip


def plain():
    """One epoch, nothing validated."""
    return TrainingRecord(epochs=(Epoch(number=1, loss=0.5, rate=1e-3, seconds=1.0),), planned=1, kept=1)
