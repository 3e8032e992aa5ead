"""From words, or a file, to the plan of an evaluation: names and numbers are checked before anything is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import final

from saddlepoint.api import prepare
from saddlepoint.balls import Ball
from saddlepoint.classifier import Classifier
from saddlepoint.cli import common, given
from saddlepoint.cli.given import Given
from saddlepoint.data import Dataset, load_data
from saddlepoint.defenses.spec import load_model
from saddlepoint.errors import DataError, SpecError, shown
from saddlepoint.evaluation.adaptive import Against
from saddlepoint.evaluation.asked import check_labels
from saddlepoint.evaluation.ensembles import Suite, as_suite, usual
from saddlepoint.evaluation.plan import Plan
from saddlepoint.evaluation.rounding import require_images
from saddlepoint.evaluation.suites import Named, build, needs_eps
from saddlepoint.models import ensemble
from saddlepoint.problem import Limits
from saddlepoint.solve import Attack


@final
@dataclass(frozen=True)
class Model:
    """A model as it is named: ``place`` is where in a file, ``name`` what reports call it."""

    place: str
    name: str
    spec: str
    weights: Path | None


@final
@dataclass(frozen=True, kw_only=True)
class Setup:
    """What evaluate and attack are told alike; each field is the option of its name, as typed."""

    data_dir: Path | None
    rows: int | None
    target: str
    device: str | None
    batch_size: str
    seed: int
    forwards: int | None
    backwards: int | None
    threads: int | None

    def size(self, file: Given) -> int | None:
        """Rows at once, or None."""
        with file.at("batch_size"):
            return common.batch_size(self.batch_size)

    def plan(
        self,
        file: Given,
        models: Sequence[Model],
        data: str,
        balls: Sequence[Ball],
        attacks: Sequence[Named | Attack] | None,
        images: bool = False,
        suite: Suite | None = None,
        diagnose: bool = False,
        precision: str = "float32",
        against: Against | None = None,
        surrogates: Sequence[str] = (),
    ) -> Plan:
        """Load the data, which may have to be images, and the models, and plan the jobs."""
        with file.at("threads"):
            common.set_threads(self.threads)
        size, limits = self.size(file), self._limits(file)
        with file.at("device"):
            device = common.check_device(self.device)
        rows = self._rows(file, data)
        if images:
            require_images(rows)
        loaded: dict[str, Classifier] = {}
        for model in models:
            with file.at(model.place):
                if model.name in loaded:
                    raise SpecError(f"the name {model.name!r} stands here twice; give each model its own")
                loaded[model.name] = load_model(model.spec, weights=model.weights, device=device)
        with file.at("surrogate"):
            blind = {name: averaged(name, device) for name in surrogates}
        with file.at():
            return prepare(
                loaded, rows, ball=balls, attacks=attacks, target=self.target, seed=self.seed, batch_size=size,
                limits=limits, suite=suite, diagnose=diagnose, precision=precision, against=against,
                surrogate=blind,
            )  # fmt: skip

    def _limits(self, file: Given) -> Limits:
        budgets = {"forwards": self.forwards, "backwards": self.backwards}
        asked = {name: budget for name, budget in budgets.items() if budget is not None}
        for name, budget in asked.items():
            with file.at(name):
                Limits(**{name: budget})
        return Limits(**asked)

    def _rows(self, file: Given, spec: str) -> Dataset:
        data = data_set(file, spec, self.data_dir)
        if self.rows is None:
            return data
        with file.at("rows"):
            if not 1 <= self.rows <= len(data):
                raise DataError(f"--rows {self.rows} must lie in [1, {len(data)}], the rows of {data.name}")
        return data[: self.rows]


def averaged(spec: str, device: str | None) -> Classifier:
    """The model of a spec; of several joined by + the mean of their logits."""
    parts = spec.split("+")
    members = [load_model(part, device=device) for part in parts]
    return members[0] if len(members) == 1 else ensemble(members)


def data_set(file: Given, spec: str, data_dir: Path | None, place: str = "data") -> Dataset:
    """The whole data set of that name;  place: the option that names it."""
    read = load_data if data_dir is None else partial(load_data, data_dir=data_dir)
    with file.at(place):
        return read(spec)


def check_fit(name: str, model: Classifier, data: Dataset) -> None:
    """Refuse rows that the model of that name does not take, or whose labels it cannot answer.

    Raises:  ModelError for another shape;  DataError for labels above its classes.
    """
    looked = model.uncounted()
    looked.predict(data.x[:1])
    check_labels(data, name, looked.answers)


def models_and_data(file: Given, specs: Sequence[str], weights: Path | None) -> tuple[list[Model], str]:
    """The models and the data set: what was typed, else what the file says.

    Raises:  SpecError if there is no model, or no data set.
    """
    if specs:
        if len(specs) < 2:
            raise SpecError(f"give at least one model and then the data set, for example {specs[0]} mnist10k:test")
        return [Model("models", spec, spec, weights) for spec in dict.fromkeys(specs[:-1])], specs[-1]
    listed, data = file.get("models"), file.get("data")
    if listed is None or data is None:
        lacking = "models and data" if file.name else "MODEL [MODEL ...] DATA"
        raise SpecError(f"{file.prefix}{lacking} must be given, for example zoo:mnist-pgd and mnist10k:test")
    with file.at("data"):
        data = given.words(data)
    with file.at("models"):
        named = given.entries("models", listed)
    return [_model(file, place, entry, weights) for place, entry in named], data


def balls(
    file: Given, norm: str, eps: str, key: str, attacks: str, suite: str | None = None, target: str | None = None
) -> list[Ball]:
    """The balls of --norm and --eps, or the threats of the file; without a radius if every attack can do without.

    Args:
        key, attacks: the option of the attacks, and what it says.
        suite, target: the options of these names, where no attacks are named, so that a suite may run in their place.

    Raises:  SpecError if there is no radius, and an attack, or the suite, needs one.
    """
    threats = file.get("threats")
    if threats is None:
        with file.at("norm"):
            common.check_norm(norm)
        if not eps:
            _check_radius(file, key, attacks, f"{file.prefix}--eps", _in_place(norm, suite, target))
        with file.at("eps"):
            return common.balls(norm, eps)
    with file.at("threats"):
        if file.get("eps") or file.get("norm"):
            raise SpecError("eps and norm stand beside threats; keep one of the two")
        named = given.entries("threats", threats)
    found: list[Ball] = []
    for place, entry in named:
        with file.at(place):
            threat = given.fields(entry, ("norm",), ("eps",))
        with file.at(f"{place}.norm"):
            kind = given.words(threat["norm"])
            common.check_norm(kind)
        with file.at(place):
            if "eps" not in threat:
                _check_radius(file, key, attacks, "the key 'eps'", _in_place(kind, suite, target))
        with file.at(f"{place}.eps"):
            found += common.balls(kind, given.words(threat["eps"]) if "eps" in threat else "")
    return list(dict.fromkeys(found))


def attacks(file: Given, key: str, text: str, ball: Ball) -> list[Named]:
    """The attacks of an option, or of the file, each with its settings; every one has been built once.

    Raises:  SpecError or SettingError, with the place in the file, for what is no attack or no setting.
    """
    named = _entries(file, key, text)
    for place, entry in named:
        if isinstance(entry, Mapping) and "name" in entry:
            for setting, value in entry.items():
                with file.at(f"{place}.{setting}"):
                    build({"name": entry["name"], setting: value}, ball)
        with file.at(place):
            build(entry, ball)
    return [entry for _, entry in named]


def suite(file: Given, name: str | None, target: str, balls: Sequence[Ball]) -> Suite | None:
    """The suite of --suite, or of the file; without one, and without attacks, the usual one.

    Raises:  SpecError for an unknown name, or where attacks are named, too.
    """
    if name is None:
        return None if file.names("attacks") else usual(target, balls)
    with file.at("suite"):
        if file.names("attacks"):
            raise SpecError(f"suite={name!r} stands beside attacks; keep one of the two")
        return as_suite(name, target, balls)


def _entries(file: Given, key: str, text: str) -> list[tuple[str, Named]]:
    """The attacks of an option, or of the file, each with its place."""
    listed = file.get(key)
    with file.at(key):
        named = given.entries(key, common.words(text) if listed is None else _split(listed))
    for place, entry in named:
        with file.at(place):
            if not isinstance(entry, str | Mapping):
                raise SpecError(f"{shown(entry)} must be a name, or a mapping of name and settings")
    return named


def _in_place(norm: str, suite: str | None, target: str | None) -> str:
    """The suite that runs in place of attacks in balls of that norm; none if attacks are named, or it does not fit."""
    if suite or target is None:
        return suite or ""
    found = usual(target, [common.BALLS[norm](1.0)])
    return "" if found is None else found.name


def _check_radius(file: Given, key: str, text: str, what: str, suite: str) -> None:
    """Refuse that there is no radius if an attack, or the suite that runs in place of them, needs one.

    Raises:  SpecError, with what is missing, and what needs it.
    """
    needy = [f"the suite {suite}"] if suite else []
    for place, entry in () if suite else _entries(file, key, text):
        with file.at(place):
            if needs_eps(entry):
                needy.append(entry if isinstance(entry, str) else entry["name"])
    if needy:
        raise SpecError(
            f"{what} is missing: the radius in input units, for example --eps 0.3 or --eps 8/255; "
            f"needed by {', '.join(dict.fromkeys(needy))}, not by attacks that look for the nearest point, such as ddn"
        )


def _split(listed: object) -> object:
    return common.words(listed) if isinstance(listed, str) else listed


def _model(file: Given, place: str, entry: object, weights: Path | None) -> Model:
    with file.at(place):
        if isinstance(entry, str):
            return Model(place, given.words(entry), entry, weights)
        texts = {key: given.words(value) for key, value in given.fields(entry, ("spec",), ("name", "weights")).items()}
    own = texts.get("weights")
    return Model(place, texts.get("name", texts["spec"]), texts["spec"], Path(own) if own else weights)
