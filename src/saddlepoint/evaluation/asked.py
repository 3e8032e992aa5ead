"""What may be asked of an evaluation; every error says what to change, before anything runs."""

import math
from collections.abc import Mapping, Sequence

from torch import Tensor

from saddlepoint.balls import L0, Ball
from saddlepoint.classifier import Classifier
from saddlepoint.data import Dataset
from saddlepoint.errors import ArgumentTypeError, DataError, SettingError, is_text, shown
from saddlepoint.evaluation.suites import Named, needs_eps
from saddlepoint.models import ensemble
from saddlepoint.noise import Noise
from saddlepoint.problem import Limits
from saddlepoint.solve import Attack

_WIDE = 1e-6  # of the width of the bounds: rounding, which every attack clamps away


def check(
    models: Mapping[str, Classifier],
    data: Dataset,
    balls: Sequence[Ball],
    attacks: Sequence[Named | Attack],
    *,
    target: str,
    seed: int,
    batch_size: int | None,
    limits: Limits,
) -> None:
    """Refuse what is of the wrong kind, or cannot be evaluated; arguments as in evaluate."""
    if isinstance(attacks, str | Mapping) or not isinstance(attacks, Sequence):
        raise ArgumentTypeError(f"attacks={shown(attacks)} must be a list of names or attacks, such as ['fgsm', 'pgd']")
    if not models or not balls or not attacks:
        raise SettingError("an evaluation needs at least one model, one attack and one ball (norm and eps)")
    if not all(is_text(name) and name for name in models):
        raise ArgumentTypeError(f"the models {shown(list(models))} must have names, as text that is not empty")
    if not len(data):
        raise DataError(f"{data.name} has no rows; give at least one")
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise SettingError(f"batch_size={shown(batch_size)} must be >= 1, an integer, or None")
    if not isinstance(target, str):
        raise ArgumentTypeError(f"target={shown(target)} must be text: 'none', 'least-likely', 'random' or '3'")
    if not isinstance(limits, Limits):
        raise ArgumentTypeError(f"limits={shown(limits)} must be a budget, such as saddlepoint.Limits(forwards=100)")
    if isinstance(limits.forwards, Tensor) or isinstance(limits.backwards, Tensor):
        raise SettingError("an evaluation needs one budget for all rows; give numbers in Limits")
    Noise(seed)  # says what is wrong with it
    for ball in balls:
        _check_ball(ball)
    _check_range(models, data)
    for attack in attacks:
        _check_attack(attack, balls)
    for ball in balls:
        _check_radius(ball, attacks)


def check_labels(data: Dataset, name: str, classes: int) -> None:
    """Refuse labels of classes that the model of that name does not have."""
    highest = int(data.y.max())
    if highest >= classes:
        raise DataError(
            f"the labels of {data.name} run up to class {highest}, {name} has classes 0 to {classes - 1}; give rows of "
            "these classes, or a model of all"
        )


def check_surrogates(
    surrogates: Mapping[str, Classifier], models: Mapping[str, Classifier], data: Dataset, balls: Sequence[Ball]
) -> None:
    """Refuse surrogates from which nothing can be transferred; arguments as in evaluate."""
    for name, surrogate in surrogates.items():
        if not is_text(name) or not name or not isinstance(surrogate, Classifier):
            raise ArgumentTypeError(
                f"surrogate {shown(name)} is {type(surrogate).__name__}; give a saddlepoint.Classifier, or several by "
                "name"
            )
        for ball in balls:
            if math.isinf(float(ball.eps)) or isinstance(ball, L0):
                raise SettingError(f"{ball!r} does not go with a surrogate; give Linf, L2 or L1 with a radius")
        for called, model in models.items():
            if surrogate.device != model.device:
                raise SettingError(
                    f"the surrogate {name} is on {surrogate.device}, {called} on {model.device}; load both on one "
                    "device"
                )
            counts = [each.num_classes for each in (_looked(surrogate, model, data), _looked(model, model, data))]
            if counts[0] != counts[1]:
                raise SettingError(
                    f"the surrogate {name} has {counts[0]} classes, {called} {counts[1]}; give one of the same"
                )


def _looked(model: Classifier, of: Classifier, data: Dataset) -> Classifier:
    """A twin, in the bounds of another, that has answered once."""
    twin = (model if model.bounds == of.bounds else ensemble([model], bounds=of.bounds)).uncounted()
    twin.predict(data.x[:1].to(of.device))
    return twin


def _check_ball(ball: object) -> None:
    if not isinstance(ball, Ball):
        raise ArgumentTypeError(f"ball={shown(ball)} must be a ball with its radius, such as saddlepoint.Linf(8 / 255)")
    if isinstance(ball.eps, Tensor):
        raise SettingError("an evaluation needs one eps for each ball; give several balls for several radii")


def _check_radius(ball: Ball, attacks: Sequence[Named | Attack]) -> None:
    """Without a radius, every attack must look for the nearest point."""
    if math.isinf(float(ball.eps)) and (needy := [_called(attack) for attack in attacks if needs_eps(attack)]):
        raise SettingError(
            f"{ball!r} has no border, and {', '.join(needy)} cannot do without; give a finite eps, in input units, or "
            "only attacks that look for the nearest point, such as ddn"
        )


def _called(attack: Named | Attack) -> str:
    return attack if isinstance(attack, str) else attack["name"] if isinstance(attack, Mapping) else attack.name


def _check_range(models: Mapping[str, Classifier], data: Dataset) -> None:
    low, high = float(data.x.min()), float(data.x.max())
    for name, model in models.items():
        slack = _WIDE * model.bounds.width
        if not model.bounds.lower - slack <= low <= high <= model.bounds.upper + slack:
            raise DataError(
                f"{data.name} runs from {low:g} to {high:g}, the inputs of {name} from {model.bounds.lower:g} to "
                f"{model.bounds.upper:g}; give Classifier the bounds of your inputs"
            )


def _check_attack(attack: object, balls: Sequence[Ball]) -> None:
    if isinstance(attack, str | Mapping):
        return
    name = getattr(attack, "name", None)
    if isinstance(attack, type) or not callable(attack) or not isinstance(name, str):
        raise ArgumentTypeError(
            f"attack {shown(attack)} must be a name, or an attack with its ball, such as PGD(ball=Linf(8 / 255)); "
            "a function goes into attacks.FromCallable"
        )
    own = getattr(attack, "ball", None)
    if own is not None and list(balls) != [own]:
        raise SettingError(f"{name} has {own!r}, the evaluation {list(balls)!r}; give both the same ball")
