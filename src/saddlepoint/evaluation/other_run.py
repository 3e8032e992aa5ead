"""In which options a run differs from the one whose folder it was given, in the words of the command line."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from saddlepoint.errors import shown
from saddlepoint.evaluation.suites import attack_classes

_MOST = 120  # letters of a value
_LONGER = ("limits", "against")  # of settings, each an option of its name


def differences(there: Mapping[str, Any], here: Mapping[str, Any]) -> list[str]:
    """What differs, each with its option and, where they are short, both values.

    Args:  there, here: the specs of the run in the folder and of this one, as Plan.spec, from JSON; only the second is
        known to be whole.
    """
    differing = [key for key in here if key != "models" and there.get(key) != here[key]]
    found = [text for key in differing for text in _told(key, there.get(key), here[key], "suite" in differing)]
    ours, theirs = list(here["models"]), there.get("models")
    if isinstance(theirs, Mapping) and set(theirs) != set(ours):
        found.append(_both("the models", ", ".join(theirs), ", ".join(ours)))
    return found


def _told(key: str, there: object, here: Any, suite: bool) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """One key of a spec that differs; of keys within it, each; not the attacks where it is the suite."""
    if key in _LONGER:
        for name, value in here.items():
            other = there.get(name) if isinstance(there, Mapping) else None
            if other != value:
                yield _both(f"--{name}", _plain(other), _plain(value))
    elif key == "data":
        yield from _data(there if isinstance(there, Mapping) else {}, here)
    elif key == "threats":
        yield from _threats(there, here, suite)
    elif key == "probed":
        yield _both("--diagnose", *("on" if value else "off (--no-diagnose)" for value in (there, here)))
    elif key == "forms":
        yield _both("--precision", *("auto" if value else "float32" for value in (there, here)))
    elif key == "points":
        kinds = {"all": "every point, as attack and transfer do", "fooled": "the points that fool, as evaluate does"}
        yield _both("the command", *(f"keeps {kinds.get(str(value), value)}" for value in (there, here)))
    elif key == "numerics":
        yield _both("the version of saddlepoint's numbers", _plain(there), _plain(here))
    else:
        yield _both(f"--{key}", _plain(there), _plain(here))


def _data(there: Mapping[str, Any], here: Mapping[str, Any]) -> Iterator[str]:
    told = {"name": "the data set", "rows": "--rows"}
    found = [_both(told[key], _plain(there.get(key)), _plain(here[key])) for key in told if there.get(key) != here[key]]
    yield from found or ["the rows of the data set, though they are as many"]


def _threats(there: Any, here: Sequence[Mapping[str, Any]], suite: bool) -> Iterator[str]:  # noqa: ANN401 (JSON)
    """Balls, and attacks by name; settings are too long for a line."""
    try:
        pairs = [(list(map(_ball, each)), list(dict.fromkeys(map(_attacks, each)))) for each in (there, here)]
    except (KeyError, TypeError, ValueError):  # a radius for each row, or the file was changed
        yield "--norm, --eps or --attacks"
        return
    (balls, attacks), (our_balls, our_attacks) = pairs
    if balls != our_balls:
        yield _both("--norm and --eps", ", ".join(balls), ", ".join(our_balls))
    if attacks != our_attacks and not suite:
        yield _both("--attacks", "; ".join(attacks), "; ".join(our_attacks))
    if (balls, attacks) == (our_balls, our_attacks):
        yield "the settings of --attacks"


def _ball(threat: Mapping[str, Any]) -> str:
    norm, eps = threat["ball"]["norm"], threat["ball"]["eps"]
    return f"{norm} {'without --eps' if eps == 'inf' else f'{float(eps):.6g}'}"


def _attacks(threat: Mapping[str, Any]) -> str:
    known = {f"{cls.__module__}.{cls.__qualname__}": name for name, cls in attack_classes().items()}
    return ", ".join(
        str(known.get(each["class"]) or each["settings"].get("name") or each["class"].rpartition(".")[2])
        for each in threat["attacks"]
    )


def _plain(value: object) -> str:
    return "none" if value is None else value if isinstance(value, str) else shown(value)


def _both(what: str, there: str, here: str) -> str:
    if max(len(there), len(here)) > _MOST:
        return what
    return f"{what}: {there} there, {here} here"
