"""The sentences that may be cited, and what they do not say."""

from saddlepoint.records import Distances, ModelRecord, RunRecord, ThreatRecord
from saddlepoint.report import text
from saddlepoint.report.privacy import base_name

_BOUND = (
    "Each number is an upper bound on the true robust accuracy, from the attacks named here only: "
    "a stronger attack can lower it and none can raise it. The interval covers the choice of rows, "
    "not the attacks that were not tried."
)
_OTHERS = (
    "The attacks are not AutoAttack, so the number does not compare with AutoAttack results or with leaderboards built "
    "on them."
)
_AUTOATTACK = (
    "The members, steps and order are those of AutoAttack's version {}, in saddlepoint's own implementation: "
    "name both when you cite the number."
)
_VERSIONS = {"autoattack": "standard", "autoattack-plus": "plus", "autoattack-rand": "rand"}


CAVEAT = f"{_BOUND} {_OTHERS}"
CAVEAT_DISTANCE = (
    "Each distance is an upper bound on the distance to the nearest adversarial example, from the attacks named here "
    "only: a stronger attack can lower it and none can raise it. The quartiles are those of the rows that are right "
    "when clean; a row without any found point counts as farther than all others."
)


def citation(run: RunRecord) -> list[str]:
    """One sentence per model and threat, models first; a threat without attacks or rows says so instead of a number.

    Returns:  sentences in plain text, to be shown together with :func:`caveat`.
    """
    named = zip(text.labels(run.models), run.models, strict=True)
    return [sentence(run, model, name, threat) for name, model in named for threat in model.threats]


def caveat(run: RunRecord) -> str:
    """What the sentences of a run do not say, for robust accuracies and for distances."""
    kinds = {threat.eps is None for model in run.models for threat in model.threats}
    version = _VERSIONS.get(str(run.spec.get("suite")))
    accuracy = f"{_BOUND} {_AUTOATTACK.format(version)}" if version else CAVEAT
    return " ".join(said for kind, said in ((False, accuracy), (True, CAVEAT_DISTANCE)) if kind in (kinds or {False}))


def sentence(run: RunRecord, model: ModelRecord, name: str, threat: ThreatRecord) -> str:
    """What to cite of one model in one ball; ``name`` is how the model is called."""
    ball = text.ball(base_name(threat.norm), threat.eps)
    name, data = base_name(name), base_name(run.data.name)
    if not threat.attacks or not threat.worst.rows:
        lacking = "no attack was run" if not threat.attacks else "no row was measured"
        return f"{name}: nothing to cite for {ball} on {data}; {lacking}."
    if barred(threat) and threat.diagnosis is not None:
        causes = ", ".join(threat.diagnosis.causes)
        return (
            f"{name}: no robust accuracy to cite for {ball} on {data}; the diagnosis says: do not cite ({causes}). "
            f"{text.percent(model.clean)} clean accuracy."
        )
    attacks = [base_name(attack.name) for attack in threat.attacks]
    named, suite = ", ".join(attacks), run.spec.get("suite")
    many = f"{len(attacks)} attacks ({named})" if len(attacks) > 1 else ""
    if threat.eps is None and threat.distances is not None:
        scope = f"the nearest of {many}" if many else f"{named} alone"
        said = (
            f"{name}: {_distance(threat.norm, threat.distances)} under {scope}, "
            f"{text.plural(threat.worst.rows, 'row')} of {data}; {text.percent(model.clean)} clean accuracy. "
            "An upper bound on the distance to the nearest adversarial example."
        )
    else:
        scope = f"the worst case of {many}" if many else f"{named} alone"
        beside = " and what a defended model is attacked with besides" if threat.attacks[0].role else ""
        scope = f"the suite {base_name(str(suite))}{beside} ({named})" if suite else scope
        said = (
            f"{name}: {text.percent(threat.worst)} robust accuracy (95 % interval {text.interval(threat.worst)}) "
            f"under {scope}, {ball}, {text.plural(threat.worst.rows, 'row')} of {data}; "
            f"{text.percent(model.clean)} clean accuracy."
        )
    count = errors(run, model)
    if not count:
        return said
    verb = "is" if count == 1 else "are"
    return f"{said} Not to be cited before its {text.plural(count, 'error finding')} {verb} settled."


def barred(threat: ThreatRecord) -> bool:
    """Whether the diagnosis forbids to cite the number."""
    return threat.diagnosis is not None and threat.diagnosis.verdict == "do not cite"


def _distance(norm: str, found: Distances) -> str:
    """The median with what it is out of."""
    lower, median, upper = text.quartiles(found, None)
    rows = f"{text.plural(found.rows, 'row')} that are right when clean, {found.unsolved} of them unsolved"
    about = f"{text.norm(base_name(norm))}, {text.unit(norm)}; quartiles {lower} to {upper}"
    return f"median smallest perturbation {median} ({about}; {rows})"


def errors(run: RunRecord, model: ModelRecord) -> int:
    """How many error findings stand against a model, those about the whole run included."""
    return sum(finding.level == "error" and finding.model in (None, model.name) for finding in run.findings)
