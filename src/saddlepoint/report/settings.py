"""The settings of every attack, each told once."""

import json
from dataclasses import dataclass
from typing import Any, final

from saddlepoint.records import RunRecord
from saddlepoint.report import text


@final
@dataclass(frozen=True, kw_only=True)
class Settings:
    """One attack as it was set; ``where`` names the places, empty where it was set so everywhere."""

    attack: str
    where: list[str]
    values: list[tuple[str, str]]


def settings(run: RunRecord, names: list[str]) -> list[Settings]:
    """Every distinct way in which an attack was set, in the order of first appearance; ``names`` are the models'."""
    places: dict[tuple[str, str], list[tuple[str, str]]] = {}
    values: dict[tuple[str, str], dict[str, Any]] = {}
    for name, model in zip(names, run.models, strict=True):
        for threat in model.threats:
            ball = text.ball(threat.norm, threat.eps)
            for attack in threat.attacks:
                key = attack.name, json.dumps(attack.settings, sort_keys=True, default=str)
                places.setdefault(key, []).append((name, ball))
                values.setdefault(key, attack.settings)
    order = list(dict.fromkeys(name for name, _ in places))
    keys = sorted(places, key=lambda key: order.index(key[0]))  # stable: the ways of one attack stand together
    shared = {name for name in order if sum(key[0] == name for key in keys) == 1}
    return [
        Settings(
            attack=key[0],
            where=[] if key[0] in shared else _where(places[key], names),
            values=[(name, text.setting(value)) for name, value in values[key].items()],
        )
        for key in keys
    ]


def _where(places: list[tuple[str, str]], names: list[str]) -> list[str]:
    """The balls alone where every model is meant, else model and ball."""
    balls = list(dict.fromkeys(ball for _, ball in places))
    if len(set(places)) == len(balls) * len(set(names)):
        return balls
    return list(dict.fromkeys(f"{name}, {ball}" for name, ball in places))
