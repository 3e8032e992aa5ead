"""Models behind transforms: what is left by who does not know of them, by who does, and without gradients."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from saddlepoint.errors import missing
from saddlepoint.records import FOOLED, HELD, AttackRecord, Role, RunRecord, Share, ThreatRecord, wilson
from saddlepoint.report import text
from saddlepoint.report.privacy import public

if TYPE_CHECKING:
    from rich.console import Group as Renderables

_FEW = 0.02  # of the rows that were attacked: more than that is no accident
_ROLES: dict[Role, str] = {
    "oblivious": "does not know of the defense",
    "adaptive": "goes through the defense",
    "gradient-free": "needs no gradient",
}


@final
@dataclass(frozen=True, kw_only=True)
class Side:
    """The attacks of one role: their names, what each knows, and what all of them together leave."""

    role: str
    knows: str
    attacks: str
    left: Share


@final
@dataclass(frozen=True, kw_only=True)
class Defended:
    """One model behind transforms in one ball, side by side; ``worst`` is what may be cited."""

    series: int
    name: str
    ball: str
    transforms: list[str]
    sides: list[Side]
    worst: Share
    means: list[str]  # what the gaps between the sides mean


def defended(run: RunRecord, names: list[str]) -> list[Defended]:
    """Every model behind transforms in every ball with a radius, where roles were given; ``names`` are the models'."""
    return [
        Defended(
            series=series,
            name=name,
            ball=text.ball(threat.norm, threat.eps),
            transforms=model.transforms,
            sides=sides,
            worst=threat.worst,
            means=_means(threat, sides),
        )
        for series, (name, model) in enumerate(zip(names, run.models, strict=True))
        for threat in model.threats
        if threat.eps is not None and (sides := _sides(threat))
    ]


def summary(run: RunRecord) -> "Renderables":
    """For each model behind transforms a table of the sides, and what the gaps mean.

    Raises:
        MissingExtraError: rich is not installed.
    """
    try:
        from rich import box
        from rich.console import Group as Renderables
        from rich.table import Table
        from rich.text import Text
    except ImportError as error:
        raise missing("rich", "cli") from error
    shown, lines = public(run), list[Table | Text]()
    for each in defended(shown, text.labels(shown.models)):
        title = Text(f"{each.name} · {each.ball} · who knows of the defense", style="bold")
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("attacker")
        table.add_column("attacks", overflow="fold")
        table.add_column("robust accuracy", justify="right")
        for i, side in enumerate(each.sides, 1):
            table.add_row(side.role, Text(side.attacks), _cell(side.left), end_section=i == len(each.sides))
        table.add_row("worst case", Text(""), _cell(each.worst), style="bold")
        lines += [title, table, *(Text(f"{said}\n") for said in each.means)]
    return Renderables(*lines)


def _cell(share: Share) -> str:
    return f"{text.percent(share)}  {text.interval(share).replace(' to ', '–')}"


def _sides(threat: ThreatRecord) -> list[Side]:
    found = []
    for role, knows in _ROLES.items():
        attacks = [attack for attack in threat.attacks if attack.role == role]
        if attacks:
            named = ", ".join(text.plain(attack.name) for attack in attacks)
            left = wilson(sum(_left(attacks)), len(threat.verdicts))
            found.append(Side(role=role, knows=knows, attacks=named, left=left))
    return found


def _left(attacks: list[AttackRecord]) -> list[bool]:
    """Of each row, whether it held under all of these attacks."""
    return [set(letters) == {HELD} for letters in zip(*(attack.verdicts for attack in attacks), strict=True)]


def _means(threat: ThreatRecord, sides: list[Side]) -> list[str]:
    left = {side.role: side.left for side in sides}
    if "oblivious" not in left or "adaptive" not in left:
        return []
    naive, adaptive = left["oblivious"], left["adaptive"]
    gap = 100 * (naive.value - adaptive.value)
    if gap > 0:
        said = (
            f"{gap:.1f} points of the {text.percent(naive)} that the oblivious attack leaves stand only while the "
            "attacker does not know of the defense: they are no robustness. Only the worst case is to be cited."
        )
    else:
        said = (
            "Knowing of the defense gained the attacker nothing here. That is rare: before the number is cited, ask "
            "whether the gradient through the defense is of use, and try another surrogate."
        )
    knowing = [attack for attack in threat.attacks if attack.role == "adaptive"]
    blind = [attack for attack in threat.attacks if attack.role == "gradient-free"]
    beyond = sum(
        held and FOOLED in letters
        for held, letters in zip(_left(knowing), zip(*(each.verdicts for each in blind), strict=True), strict=False)
    )
    if beyond <= _FEW * sum(letter in (HELD, FOOLED) for letter in threat.verdicts):
        return [said]
    rows = text.plural(beyond, "row")
    return [
        said,
        f"Without gradients {rows} fell that held under every attack with them: the gradients through the defense are "
        "masked, or poor. A better surrogate, or more draws, may lower the number.",
    ]
