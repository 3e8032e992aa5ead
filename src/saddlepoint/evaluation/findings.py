"""What a reader must know before citing the numbers of a run."""

import itertools
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from saddlepoint.classifier import Classifier
from saddlepoint.errors import ModelError
from saddlepoint.noise import Noise, drawing
from saddlepoint.records import FOOLED, AttackRecord, DataRecord, Diagnosis, Finding, ModelRecord, ThreatRecord

_FEW_ROWS = 1000
_PER_CLASS = 5  # rows for each class: then, of equally frequent classes, not even half are missed by chance
_LEAST, _ALONE = 30, 100  # rows: fewer may lack classes by chance, or be all of one that is frequent
_NAMED = 5  # classes that are told by name


def of_outputs(name: str, model: Classifier, x: Tensor) -> Iterator[Finding]:
    """Look at a model's outputs on a few clean inputs x: probabilities, randomness, dependence on the mode."""
    yield from of_logits(name, *twice(model, x), in_training(model, x))


def twice(model: Classifier, x: Tensor) -> tuple[Tensor, Tensor]:
    """The logits of x, asked for two times; transforms that draw by row id draw the same in both.

    Raises:  ModelError if the model changes its input, or the number of its classes.
    """
    given = x.clone()  # what a model does to it is not done to the data set
    found = []
    for _ in range(2):  # the second time on the same draws: what draws by row id can be told again, in any process
        with torch.no_grad(), model.frozen(), drawing(Noise()):
            found.append(model.logits(given))
    first, second = found
    if not torch.equal(given, x):
        raise ModelError("the model changes its input in place; write x = x - mean, not x -= mean, nor x.sub_(mean)")
    if first.shape != second.shape:
        raise ModelError(
            f"the model returned logits of shape {tuple(first.shape)}, then {tuple(second.shape)}; "
            "it must have the same classes each time"
        )
    return first, second


def in_training(model: Classifier, x: Tensor) -> Tensor | None:
    """The logits of x in the mode that the module was given in, NaN if it fails there; None if that is evaluation mode.

    This is no part of an attack and not counted; buffers and random numbers are as before.
    """
    module = model.module
    if not isinstance(module, nn.Module) or not any(part.training for part in module.modules()):
        return None
    kept = {name: buffer.clone() for name, buffer in module.named_buffers()}
    try:
        seeds = torch.random.fork_rng([model.device] if model.device.type == "cuda" else [])
        with torch.no_grad(), seeds, drawing(Noise()):
            return model.uncounted().logits(x.clone())
    except ModelError:  # such as batch normalisation of one row
        return torch.full((len(x), model.num_classes or 1), torch.nan)
    finally:
        for name, buffer in module.named_buffers():
            buffer.copy_(kept[name])


def of_logits(name: str, first: Tensor, second: Tensor, training: Tensor | None = None) -> Iterator[Finding]:
    """The same of the logits (n, k) of two looks, and of one in training mode, if the model was given in it."""
    yield from _of_scale(name, first)
    if not torch.equal(first.nan_to_num(), second.nan_to_num()):
        yield Finding(
            level="warning",
            title="The model is random",
            evidence=f"two passes over {len(first)} inputs differ by up to {(first - second).abs().max().item():.3g}",
            consequence="Attacks follow the gradients of one draw and are judged by another: numbers are too high.",
            remedy="Switch the randomness off, or attack averages over draws: the suite autoattack-rand, or EOT.",
            model=name,
        )
    elif training is not None and not _alike(first, training):
        yield Finding(
            level="warning",
            title="The model was given in training mode",
            evidence=f"on {len(first)} inputs its outputs there are not those in evaluation mode",
            consequence="None: evaluation mode is what is attacked and judged, and every flag is set back.",
            remedy="Call model.eval() to say so.",
            model=name,
        )


def _alike(first: Tensor, second: Tensor) -> bool:
    return first.shape == second.shape and torch.allclose(first, second, rtol=1e-3, atol=1e-5, equal_nan=True)


def _of_scale(name: str, logits: Tensor) -> Iterator[Finding]:
    """Probabilities, or their logarithms, in place of logits."""
    if bool((logits >= 0).all()) and bool(((logits.sum(1) - 1).abs() < 1e-4).all()):
        yield Finding(
            level="warning",
            title="The outputs look like probabilities",
            evidence=f"all outputs on {len(logits)} inputs are >= 0 and sum to 1 in each row",
            consequence="The saturation of the softmax hides gradients, which weakens attacks.",
            remedy="Return logits (leave out the last softmax).",
            model=name,
        )
    elif bool((logits <= 0).all()) and bool(((logits.exp().sum(1) - 1).abs() < 1e-4).all()):
        yield Finding(
            level="warning",
            title="The outputs look like log-probabilities",
            evidence=f"all outputs on {len(logits)} inputs are <= 0, and their exponentials sum to 1 in each row",
            consequence="Rounding can hide gradients, and losses on differences of logits see another scale.",
            remedy="Return logits (leave out the last log-softmax): the predictions stay.",
            model=name,
        )


def of_model(model: ModelRecord, data: DataRecord, target: str) -> Iterator[Finding]:
    """What the counts of one model say."""
    chance = 1 / max(1, model.classes)
    if model.clean.value <= chance + min(chance / 2, 0.1):
        yield Finding(
            level="warning",
            title="Clean accuracy is close to chance",
            evidence=f"{model.clean.count} of {model.clean.rows} rows are right, {model.classes} classes",
            remedy="Check the input range, the normalisation and the order of the labels before reading on.",
            model=model.name,
        )
    for threat in model.threats:
        yield from _of_threat(model, threat)
    if target != "none":
        yield Finding(
            level="note",
            title="Targeted attacks",
            evidence=f"target={target}: a row counts as fooled only if it becomes its target",
            remedy="Do not compare with untargeted robust accuracy, which is lower or equal.",
            model=model.name,
        )
        yield from _already(model, data, target)


def _already(model: ModelRecord, data: DataRecord, target: str) -> Iterator[Finding]:
    """Rows whose label is the class that every row is to become: no attack can fool them."""
    of_it = data.labels.count(int(target)) if target.isdecimal() else 0  # other targets are never a right row's label
    if of_it:
        yield Finding(
            level="warning",
            title="Rows are of the target class already",
            evidence=f"{of_it} of {data.rows} rows have the label {target}: nothing can turn them into it",
            consequence="Those that are right when clean count as robust, whatever the attack does: up to "
            f"{100 * of_it / data.rows:.1f} points of robust accuracy.",
            remedy="Leave rows of that class out, or use target=random or least-likely.",
            model=model.name,
        )


def of_tally(
    name: str, attack: str, unconfirmed: int, strayed: int, unreported: int = 0, *, form: str = ""
) -> Iterator[Finding]:
    """What speaks against an attack: claims that the judge did not confirm, points outside, passes that it hid.

    Args:  form: of the model, which the attack went by in place of the model as it was given.
    """
    if unconfirmed and form:
        yield Finding(
            level="warning",
            title="Claims that were not confirmed",
            evidence=f"{unconfirmed} rows that {attack} calls fooled in {form} are not in float32",
            consequence="They count as held, but the attack left them early: robust accuracy may be too high.",
            remedy="Run again with --precision float32.",
            model=name,
        )
    elif unconfirmed:
        yield Finding(
            level="warning",
            title="Claims that were not confirmed",
            evidence=f"{unconfirmed} rows that {attack} calls fooled are not, asked again",
            remedy="They count as held. The model may be random, or depend on who shares the batch.",
            model=name,
        )
    if strayed:
        yield Finding(
            level="error",
            title="Points outside ball or box",
            evidence=f"{strayed} points that {attack} returned",
            remedy="They count as undefined. Mend the attack.",
            model=name,
        )
    if unreported:
        yield Finding(
            level="warning",
            title="Passes that were not reported",
            evidence=f"the meter saw {unreported} passes of rows more than {attack} accounts for",
            remedy="Its passes are too low in every table: do not compare its cost with others before it is mended.",
            model=name,
        )


def of_data(data: DataRecord, classes: int = 0) -> Iterator[Finding]:
    """What the rows say.

    Args:  classes: of the model; of several, the most.
    """
    lacking = missed(data.labels, data.classes, classes)
    if lacking:
        yield Finding(
            level="warning",
            title="Classes are missing",
            evidence=lacking,
            consequence="The number is that of these classes alone: on all of them it may be quite another.",
            remedy="Shuffle the rows before they are saved, or leave out --rows. If the data set holds no other "
            "classes, say so beside the number.",
        )
    if data.rows < _FEW_ROWS:
        yield Finding(
            level="note",
            title="Few rows",
            evidence=f"{data.rows} rows: at 50 %, the interval is {98 / data.rows**0.5:.1f} points either way",
            remedy=f"Use at least {_FEW_ROWS} rows for a number that is compared with others.",
        )


def missed(labels: Sequence[int], names: Sequence[str], classes: int) -> str:
    """That rows lack classes which they would hold, were they drawn at random; empty if not, or if it may be chance.

    Args:  labels: of every row, in their order;  names: of the classes of the whole data set;  classes: of the model.
    """
    n, seen, most = len(labels), sorted(set(labels)), max(classes, len(names))
    few = n >= max(_LEAST, _PER_CLASS * most) and 2 * len(seen) < most
    alone = n >= _ALONE and len(seen) == 1 < most
    ordered = len(seen) > 1 and all(a <= b for a, b in itertools.pairwise(labels))
    if few or alone:
        of = f"the model's {most}" if classes == most else f"the data set's {most}"
    elif n >= _LEAST and ordered and len(seen) < len(names):
        of = f"the data set's {len(names)}"
    else:
        return ""
    told = ", ".join(names[label] if label < len(names) else f"{label}" for label in seen[:_NAMED])
    rest = f" and {len(seen) - _NAMED} more" if len(seen) > _NAMED else ""
    return f"{n} rows hold {len(seen)} of {of} classes: {told}{rest}" + ("; they stand sorted by class" * ordered)


def of_diagnosis(name: str, threat: ThreatRecord, diagnosis: Diagnosis) -> Iterator[Finding]:
    """That a number is in doubt, or not to be cited, by its gravest probe."""
    grave = [probe for probe in diagnosis.probes if probe.concern == diagnosis.verdict]
    if diagnosis.verdict == "trust" or not grave:
        return
    yield Finding(
        level="warning",  # an error would bar the other balls of the model, too: the citation reads the verdict
        title=f"Diagnosis: {diagnosis.verdict}" + (f" ({', '.join(diagnosis.causes)})" if diagnosis.causes else ""),
        evidence=f"{_where(threat)}, {grave[0].name}: {grave[0].evidence}",
        remedy=grave[0].remedy,
        model=name,
        consequence="The robust accuracy is above the true one, or may be." if diagnosis.causes else "",
    )


def _where(threat: ThreatRecord) -> str:
    return threat.norm if threat.eps is None else f"{threat.norm} eps={threat.eps:g}"


def _of_threat(model: ModelRecord, threat: ThreatRecord) -> Iterator[Finding]:
    where = _where(threat)
    if threat.eps is None and threat.distances is not None and threat.distances.unsolved:
        yield Finding(
            level="warning",
            title="Unsolved rows",
            evidence=f"no attack fooled {threat.distances.unsolved} of {threat.distances.rows} rows at any distance "
            f"({where})",
            remedy="Each counts as farther than all others. Nothing bounded the attacks: they failed, unless the model "
            "never changes its answer. Give them more steps, or add another.",
            model=model.name,
        )
    for attack in threat.attacks:
        if attack.undefined:
            yield Finding(
                level="error",
                title="Undefined rows",
                evidence=f"{attack.undefined} rows under {attack.name} ({where}) gave outputs that are not finite",
                remedy="Neither fooled nor robust: find out where the model returns NaN or infinity, and run again.",
                model=model.name,
            )
    single = [a for a in threat.attacks if a.name == "fgsm"]
    iterative = [a for a in threat.attacks if a.name in ("pgd", "bim")]
    if single and iterative:
        yield from _masking(model, where, single[0], min(iterative, key=lambda a: a.robust.count))


def _masking(model: ModelRecord, where: str, single: AttackRecord, iterative: AttackRecord) -> Iterator[Finding]:
    pairs = zip(single.verdicts, iterative.verdicts, strict=True)
    missed = sum(a == FOOLED and b != FOOLED for a, b in pairs)
    if missed > 0.02 * max(1, single.attacked) and single.robust.count < iterative.robust.count:
        yield Finding(
            level="warning",
            title="One step beats many",
            evidence=f"fgsm fools {missed} rows that {iterative.name} does not ({where})",
            remedy="A sign of masked gradients: try attacks without gradients and transferred ones before citing.",
            model=model.name,
        )
