"""From names and settings to attacks."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from enum import Enum
from types import NoneType
from typing import Any, TypeAlias, get_args, get_type_hints

from torch import Tensor, nn

from saddlepoint import attacks as library
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.errors import SettingError, SpecError, shown, unknown
from saddlepoint.losses import JOINT, Loss, cross_entropy, difference_of_logits_ratio, margin
from saddlepoint.result import Keep
from saddlepoint.solve import Attack, IterativeAttack
from saddlepoint.values import READERS, UNREADABLE

Named: TypeAlias = str | Mapping[str, Any]
"""An attack by name, ``"pgd"``, or with settings, ``{"name": "pgd", "steps": 100}``."""

DEFAULT = ("fgsm", "bim", "mi-fgsm", "pgd", "illc")
LOSSES: dict[str, Loss] = {loss.__name__: loss for loss in (cross_entropy, difference_of_logits_ratio, margin, *JOINT)}
PRESETS: dict[str, dict[str, Any]] = {
    "di-mi-fgsm": {"diversity": 0.5},
    "ti-mi-fgsm": {"kernel": 15},
    "ni-fgsm": {"nesterov": True},
    "si-ni-fgsm": {"nesterov": True, "scales": 5},
    "si-di-ti-ni-fgsm": {"nesterov": True, "scales": 5, "diversity": 0.5, "kernel": 15},
}
"""Names of MI-FGSM with directions as their papers set them; it is called so by itself."""
_OURS = ("ball", "keep")  # set by the evaluation
_BISECT = "-bisect"
_FEW = 16  # numbers of a tensor that are told one by one
_FILES: dict[str, type[library.AdvGANAttack | library.Universal]] = {
    "advgan": library.AdvGANAttack,
    "universal": library.Universal,
}  # fitted, and named with a file: KIND:PATH


def attack_classes() -> dict[str, type[IterativeAttack[Any]]]:
    """Every attack that the command line knows, by name; derived from ``saddlepoint.attacks.__all__``."""
    found = (getattr(library, name) for name in library.__all__)
    return {cls.name: cls for cls in found if isinstance(cls, type) and issubclass(cls, IterativeAttack)}


def bisectable() -> list[str]:
    """Every name that halves the radius of an attack, such as ``pgd-bisect``; what looks for the nearest has none."""
    known = attack_classes() | dict.fromkeys(PRESETS, library.MIFGSM)
    return sorted(f"{name}{_BISECT}" for name, cls in known.items() if not _nearest(cls))


def build(named: Named, ball: Ball, keep: Keep = Keep.FIRST_SUCCESS) -> Attack:
    """The attack of that name inside a ball, with its defaults where no setting is given.

    Args:
        named: a name, or a mapping of ``name`` and fields of the attack. Numbers may be text, such as "8/255", and a
            loss is given by its name. ``pgd-bisect`` looks for the smallest radius at which ``pgd`` fools, from that of
            the ball down; it takes the settings of ``pgd``, and ``rounds``. ``advgan:PATH`` and ``universal:PATH`` are
            what was fitted and saved in that file; they have their own ball, and no settings.
        keep: which point of a row is returned; a row leaves at its first success. An attack made for the least distance
            always returns its nearest point within eps.

    Raises:
        SpecError: for an unknown name, setting or loss, with the nearest ones.
        SettingError: for a value of the wrong type, or outside its range;  RecordError, WeightsError: for a file that
            is none.
    """
    if _in_file(named):
        return _loaded({"name": named} if isinstance(named, str) else dict(named), ball)
    name, own = _named(named)
    bisect = name.endswith(_BISECT)
    given = PRESETS.get(name.removesuffix(_BISECT), {}) | ({} if isinstance(named, str) else dict(named))
    given.pop("name", None)
    fields = _settable(own) | ({"rounds": _settable(library.Bisect)["rounds"]} if bisect else {})
    odd = next((key for key in given if key not in fields), None)
    if odd is not None:
        raise unknown(f"setting of {name}", str(odd), fields)
    values = {key: _setting(fields[key], value) for key, value in given.items()}
    around = {"rounds": values.pop("rounds")} if bisect and "rounds" in values else {}
    attack = own(ball=ball, keep=Keep.MIN_DISTANCE if _nearest(own) else keep, **values)
    return library.Bisect(attack=attack, **around) if bisect else attack


def transferred(ball: Ball, surrogate: Classifier, source: str) -> Attack:
    """MI-FGSM made on a surrogate, every step of it, and judged on the model."""
    attack = library.MIFGSM(ball=ball, keep=Keep.MAX_LOSS)
    return library.Transferred(attack=attack, surrogate=surrogate, source=source)


def minimal(attack: Attack) -> bool:
    """Whether an attack looks for the nearest point that fools, so that its distances mean something."""
    return _keep(attack) is Keep.MIN_DISTANCE


def stops(attack: Attack) -> bool:
    """Whether an attack leaves a row at its first success, so that its passes are what it took."""
    return _keep(attack) is Keep.FIRST_SUCCESS


def needs_eps(attack: Named | Attack) -> bool:
    """Whether an attack cannot do without a radius; a bisection starts from one.

    Raises:  SpecError for an unknown name.
    """
    if isinstance(attack, str | Mapping):
        if _in_file(attack):
            return True
        name, own = _named(attack)
        return name.endswith(_BISECT) or not _nearest(own)
    return isinstance(attack, library.Bisect) or not minimal(attack)


def described(attack: Attack) -> dict[str, Any]:
    """An attack so that no other is described alike: its class and every field, the same of attacks within."""
    within = {name: _described(value) for name, value in _fields(attack).items()}
    kind = f"{type(attack).__module__}.{type(attack).__qualname__}"
    return {"class": kind, "settings": settings(attack) | {k: v for k, v in within.items() if v is not None}}


def recognisable(attack: Attack) -> bool:
    """Whether the description of an attack says all that it does: not of a function, or an object from elsewhere."""
    if isinstance(attack, (IterativeAttack, *_FILES.values())):
        return True
    if not type(attack).__module__.startswith("saddlepoint."):
        return False
    values = _fields(attack).values()
    found = [each for value in values for each in (value if isinstance(value, list | tuple) else [value])]
    attacks = [each for each in found if _is_attack(each)]
    others = [each for each in found if isinstance(each, Classifier)]  # a surrogate: by its parameters, if it has any
    return bool(attacks) and all(map(recognisable, attacks)) and all(isinstance(m.module, nn.Module) for m in others)


def settings(attack: Attack) -> dict[str, Any]:
    """Every field of an attack as JSON."""
    return {name: _plain(value) for name, value in _fields(attack).items()} or {"attack": type(attack).__qualname__}


def _fields(value: object) -> dict[str, Any]:
    """The fields of a dataclass; none of anything else."""
    return (
        {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.metadata.get("told", True)}
        if dataclasses.is_dataclass(value)
        else {}
    )


def _is_attack(value: object) -> bool:
    return callable(value) and isinstance(getattr(value, "name", None), str) and not isinstance(value, type)


def _described(value: object) -> Any:  # noqa: ANN401 (JSON)
    """The attack, or the attacks, that a field holds; None if it holds something else."""
    if isinstance(value, list | tuple) and value and all(map(_is_attack, value)):
        return [described(each) for each in value]
    return described(value) if _is_attack(value) else None  # type: ignore[arg-type]  # just asked


def _keep(attack: object) -> object:
    """Which point an attack returns, or the one inside it, such as that of Restarts in a member of a suite."""
    if hasattr(attack, "keep"):
        return attack.keep
    if hasattr(attack, "attack"):
        return _keep(attack.attack)
    several = getattr(attack, "attacks", ())  # of a cascade, in which a row leaves with the first member that fools it
    stops = bool(several) and all(_keep(each) is Keep.FIRST_SUCCESS for each in several)
    return Keep.FIRST_SUCCESS if stops else None


def _named(named: Named) -> tuple[str, type[IterativeAttack[Any]]]:
    """The name, and the class that it names, which may be inside a bisection."""
    name = named if isinstance(named, str) else named.get("name")
    known = attack_classes() | dict.fromkeys(PRESETS, library.MIFGSM)
    if not isinstance(name, str):
        raise SpecError(f"the attack {shown(named)} has no name; give one, for example name: pgd")
    if name.endswith(_BISECT):
        known |= {f"{each}{_BISECT}": cls for each, cls in known.items() if not _nearest(cls)}
    if name not in known:
        raise unknown("attack", name, known)
    return name, known[name]


def _in_file(named: Named) -> bool:
    """Whether a name is that of an attack that was fitted, with its file."""
    name = named if isinstance(named, str) else named.get("name")
    return isinstance(name, str) and ":" in name and name.partition(":")[0] in _FILES


def _loaded(given: Mapping[str, Any], ball: Ball) -> Attack:
    """The attack of a file, which must be made for that ball."""
    if odd := next((str(key) for key in given if key != "name"), None):
        raise SpecError(f"{given['name']} has no setting {odd!r}: it was fitted, and is applied as it is")
    kind, _, path = given["name"].partition(":")
    found: library.AdvGANAttack | library.Universal = _FILES[kind].load(path)
    if found.ball != ball:
        raise SettingError(
            f"{given['name']} was fitted for {found.ball!r}, not for {ball!r}; give it its own norm and eps"
        )
    return found


def _nearest(cls: type[IterativeAttack[Any]]) -> bool:
    """Whether a class is made for the least distance."""
    return cls.__dataclass_fields__["keep"].default is Keep.MIN_DISTANCE


def _settable(cls: type[Any]) -> dict[str, tuple[dataclasses.Field[Any], Any]]:
    """The fields that can be set by name, with their types: all but the ball, and the rule of what is kept."""
    types = get_type_hints(cls)
    return {field.name: (field, types[field.name]) for field in dataclasses.fields(cls) if field.name not in _OURS}


def _setting(field: tuple[dataclasses.Field[Any], Any], value: object) -> Any:  # noqa: ANN401 (whatever the field holds)
    about, kind = field
    if about.name == "loss":
        own: Any = about.default
        known = {**LOSSES, own.__name__: own}
        if str(value) not in known:
            raise unknown("loss", str(value), known)
        return known[str(value)]
    kinds = get_args(kind) or (kind,)
    if NoneType in kinds and value in (None, "null", "~"):
        return None
    if Tensor in kinds:
        raise SettingError(f"{about.name} has one entry for each row of a batch; it can be given in Python only")
    read, rule = next(READERS[each] for each in kinds if each in READERS)
    try:
        return read(value)
    except UNREADABLE as error:
        raise SettingError(
            f"{about.name}={shown(value)} must be {rule}; leave it out for the default, {about.default}"
        ) from error


def _plain(value: object) -> Any:  # noqa: ANN401 (JSON)
    if isinstance(value, Ball):
        return value.describe()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Classifier):
        code = f"{type(value.module).__module__}.{type(value.module).__qualname__}"
        return {"fingerprint": value.fingerprint, "code": code, "autocast": str(value.autocast), "draws": value.draws}
    if isinstance(value, Tensor):
        return value.tolist() if value.numel() <= _FEW else {"shape": list(value.shape), "sha256": _sha256(value)}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        name = getattr(value, "name", None)  # of an attack inside another
        fields = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        return {"name": name, **fields} if isinstance(name, str) else fields
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return getattr(value, "__qualname__", type(value).__qualname__)


def _sha256(tensor: Tensor) -> str:
    return hashlib.sha256(tensor.detach().cpu().contiguous().numpy().tobytes()).hexdigest()
