"""The trainings that benchmarks/training.py measures."""

from dataclasses import replace

from _trained import Training

PGD7 = {"name": "adversarial", "steps": 7, "step_size": 0.025}
SEVEN = {"steps": 7, "step_size": 0.025}
STANDARD = Training(objective={"name": "standard"})
TEACHER = replace(STANDARD, epochs=5)
HOT_TEACHER = replace(TEACHER, objective={"name": "standard", "temperature": 100.0})
DEFENSIVE = Training(objective={"name": "defensive-distillation", "temperature": 100.0}, epochs=5, teacher=HOT_TEACHER)
PGD = Training(objective=PGD7)
FAST = Training(objective={"name": "fast"})
STRONG = Training(objective={"name": "strong-adversary"}, norm="l2", eps=1.5)

TABLE = {  # in the order that they are run: the cheapest and most telling first; then the seeds
    "standard": (STANDARD, [0]),
    "fast": (FAST, [0, 1, 2]),
    "fgsm-mixed": (Training(objective={"name": "fgsm-mixed"}), [0]),
    "pgd": (PGD, [0, 1, 2]),
    "trades": (Training(objective={"name": "trades", "beta": 6.0, **SEVEN}, peak=2e-3), [0, 1, 2]),
    "rce": (Training(objective={"name": "rce"}), [0]),
    "defensive-distillation": (DEFENSIVE, [0]),
    "distillation": (Training(objective={"name": "distillation"}, epochs=5, teacher=TEACHER), [0]),
    "strong-adversary": (STRONG, [0]),
    "free": (Training(objective={"name": "free", "replays": 4}, epochs=2), [0]),
    "mart": (Training(objective={"name": "mart", **SEVEN}), [0]),
    "awp(pgd)": (Training(objective=PGD7, awp={}), [0]),
}

LOOK = {"rows": 1000, "steps": 20}  # every epoch; steps of eps / 10 are set with the radius below
OVERFITTING = {  # single-step training that stops to work, without the guard and with it
    "mnist10k, step 2 eps": Training(
        objective={"name": "fast", "step_size": 0.6}, eps=0.3, epochs=30, data="mnist10k:train"
    ),
    "fashion-mnist, from zero": Training(objective={"name": "fast", "start": "zero"}, eps=0.3, epochs=10),
}


def guarded(training, guard):
    """The same with accuracies after each epoch, and a guard that is "stop" or "off"."""
    return replace(training, validation={**LOOK, "step_size": training.eps / 10, "guard": guard})


_DIGITS = replace(STANDARD, data="mnist10k:train", epochs=15)
REGULARISERS = {  # what a small eps is worth on clean digits
    "neither": _DIGITS,
    "dropout 0.5": replace(_DIGITS, net="DropoutCNN"),
    **{
        f"fgsm-mixed, eps {eps}": replace(_DIGITS, objective={"name": "fgsm-mixed"}, eps=eps)
        for eps in (0.05, 0.1, 0.25)
    },
}
