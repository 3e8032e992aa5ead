"""The recipes that come with the package."""

from functools import cache
from importlib import resources
from typing import Any

from saddlepoint.defenses.training.recipes import typed
from saddlepoint.defenses.training.recipes.recipe import Recipe, read_schedule
from saddlepoint.defenses.training.schedule import Schedule
from saddlepoint.errors import SaddlepointError, SpecError, missing

_MAPPINGS = ("objective", "schedule", "validation", "awp")


@cache
def recipes() -> dict[str, Recipe]:
    """Every recipe by name: the methods first, then the presets for one data set.

    Raises:  MissingExtraError if PyYAML is not installed.
    """
    try:
        import yaml
    except ImportError as error:
        raise missing("PyYAML", "cli") from error
    folder = resources.files("saddlepoint.defenses.training.recipes")
    files = sorted(file.name for file in folder.iterdir() if file.name.endswith(".yaml"))
    found = {}
    for name in files:
        stem = name.removesuffix(".yaml")
        found[stem] = read(stem, yaml.safe_load((folder / name).read_text(encoding="utf-8")))
    return dict(sorted(found.items(), key=lambda pair: (pair[1].preset, pair[0])))


def read(name: str, told: Any) -> Recipe:  # noqa: ANN401 (what a file holds)
    """A recipe from what its file says.

    Raises:  SpecError or SettingError, with the name, for what is no recipe.
    """
    try:
        if not isinstance(told, dict):
            raise SpecError("a recipe is a mapping with description, objective and schedule")
        plain = typed.read(
            Recipe, {key: value for key, value in told.items() if key not in _MAPPINGS}, leave=("name", *_MAPPINGS)
        )
        lacking = [key for key in ("description", "objective") if key not in told]
        if lacking:
            raise SpecError(f"a recipe needs {' and '.join(lacking)}")
        schedule = Schedule(**read_schedule(told.get("schedule", {})))
        return Recipe(
            name=name,
            objective=told["objective"],
            schedule=schedule,
            validation=told.get("validation"),
            awp=told.get("awp"),
            **plain,
        )
    except SaddlepointError as error:
        raise type(error)(f"{name}.yaml: {error}") from error
