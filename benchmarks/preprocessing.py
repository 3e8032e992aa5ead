"""What defenses in front of a net, and inside it, are worth once the attack knows of them.

``python benchmarks/preprocessing.py [--only PART ...] [--quick] [--table]`` fills results/preprocessing.json here,
cell by cell, and writes preprocessing.md from it. What is there is not measured again; weights are kept in
results/weights/, and a training that was killed goes on. ``--quick`` tries everything out on a few rows, apart, in
results/quick/.

Every net is that of its place in ``_defended.py``, trained with Adam, batches of 128, one cycle, no augmentation, to
the last epoch: two hours on one core. Columns of the table: points of PGD on the bare net ("oblivious"); PGD on the
whole as autograd sees it ("naive"), also without a random start; PGD through the surrogate (BPDA), on the cross-entropy
and the margin ("adaptive"), for a thermometer then LS-PGA and DGA, too ("codes": those alone); Square. Accuracies are
the bare module's at points that were found to lie in ball and box.
"""

import argparse
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import torch
from _cells import RESULTS, Cells, environment, fill
from _defended import DEFENSES, PLACES, Nets, Place, versions
from _defense_tables import defense_page
from _standing import FIRST, standing, worst
from _trained import data

import saddlepoint as sp
from saddlepoint.attacks import CWL2, PGD, Square
from saddlepoint.cli.main import _keep_memory
from saddlepoint.defenses.transforms import DGA, LSPGA, Thermometer
from saddlepoint.evaluation.ensembles import Member

THREADS = 1
PARTS = ("_carlini", "_minimal", "_turns", "combinators", "cw_l2", "square")
FAR = ("none", "autoencoder", "contractive")  # those whose distances something is claimed of


@dataclass(frozen=True, kw_only=True)
class Size:
    """How many rows to test on, and for Carlini & Wagner; starts of PGD on each loss, queries."""

    test: int = 500
    few: int = 100
    starts: int = 2
    queries: int = 1000


QUICK = Size(test=60, few=4, starts=1, queries=20)


@dataclass(frozen=True)
class Bench:
    """The figures of one cell each."""

    size: Size
    place: Place
    folder: Path

    @property
    def nets(self):
        """Trained as they are needed."""
        return Nets(self.folder / "weights", self.place)

    def row(self, name, eps):
        """How many rows hold under each kind of attack."""
        found, ball = self.nets.defended(name), sp.Linf(eps)
        x, y = self._test(self.size.test)
        whole, through = found.naive(), found.adaptive()
        strong, codes = worst(ball, self.size.starts), _codes(found, ball)
        adaptive = standing(through, x, y, strong + codes)
        told = {"clean": adaptive["clean"], "oblivious": None, "still": None, "naive": None, "codes": None}
        if found.transform is not None:
            told["oblivious"] = self._oblivious(found, x, y, ball)
            still = PGD(ball=ball, steps=50, step_size=eps / 10, random_start=False, keep=FIRST)
            told["still"] = standing(whole, x, y, [Member(name="still", attack=still)])["held"]
            moving = PGD(ball=ball, steps=50, step_size=eps / 10, keep=FIRST)
            told["naive"] = standing(whole, x, y, [Member(name="naive", attack=moving)])["held"]
        if codes:
            told["codes"] = standing(through, x, y, codes)["held"]
        square = Member(name="square", attack=Square(ball=ball, steps=self.size.queries, keep=FIRST))
        told["square"] = standing(whole, x, y, [square])["held"]
        return {**told, "adaptive": adaptive["held"], "members": adaptive["members"]}

    def distance(self, name):
        """How far away C&W L2 finds the rows that are right, through the surrogate."""
        found, attack = self.nets.defended(name), CWL2()
        x, y = self._test(self.size.test)
        model = sp.Classifier(found.adaptive().eval())
        right = (model.predict(x) == y).nonzero().squeeze(1)[: self.size.few]
        result = attack(model, x[right], y[right], noise=sp.Noise(0).at(right))
        fooled = sp.Classifier(found.naive().eval()).predict(result.x) != y[right]
        far = attack.ball.distance(result.x, x[right])[fooled]
        told = {"rows": len(right), "fooled": int(fooled.sum())}
        return {**told, "mean": float(far.mean()), "median": float(far.median())} if len(far) else told

    def _test(self, rows):
        found = data(f"{self.place.data}:test")[:rows]
        return found.x, found.y

    def _oblivious(self, found, x, y, ball):
        """How many rows hold at the points of PGD on the net without its defense in front: the bare one."""
        bare = sp.Classifier(self.nets.bare().eval())
        attack = PGD(ball=ball, steps=50, step_size=ball.eps / 10)
        points = attack(bare, x, y).x
        model = sp.Classifier(found.naive().eval())
        return int(((model.predict(points) == y) & (model.predict(x) == y)).sum())


def _codes(found, ball):
    """The attacks on codes, where there are any."""
    encoder = found.transform
    if not isinstance(encoder, Thermometer):
        return []
    given = {"ball": ball, "encoder": encoder, "steps": 40}
    return [Member(name="ls-pga", attack=LSPGA(**given)), Member(name="dga", attack=DGA(**given, keep=FIRST))]


def plan(benches):
    """(name, case, measure) of every cell."""
    for bench in benches:
        place = bench.place
        about = {"data": place.data, "rows": place.rows, "epochs": place.epochs, "size": asdict(bench.size)}
        about |= {"training": versions(), **environment(THREADS, PARTS)}
        for name in DEFENSES:
            for eps in place.radii:
                case = {"kind": "row", "name": name, "eps": eps, **about}
                yield f"row, {place.data}, {name}, {eps:.3g}", case, partial(bench.row, name, eps)
            if name in FAR:
                case = {"kind": "distance", "name": name, **about}
                yield f"distance, {place.data}, {name}", case, partial(bench.distance, name)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[], metavar="PART", help="cells with one of these in their names")
    parser.add_argument("--quick", action="store_true", help="few rows and epochs, kept apart in results/quick/")
    parser.add_argument("--table", action="store_true", help="measure nothing, write the page from what is there")
    asked = parser.parse_args()
    torch.set_num_threads(THREADS)
    _keep_memory()
    folder, size, places = RESULTS, Size(), list(PLACES.values())
    if asked.quick:
        folder, size, places = RESULTS / "quick", QUICK, [replace(place, rows=1280, epochs=1) for place in places]
    cells = Cells(folder / "preprocessing.json", apart=("processor",))
    if not asked.table:
        fill(cells, plan([Bench(size, place, folder) for place in places]), only=asked.only)
    (folder / "preprocessing.md").write_text(defense_page(cells.cells), encoding="utf-8")
    print("wrote preprocessing.md")


if __name__ == "__main__":
    main()
