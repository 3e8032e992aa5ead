"""Whether the attacks were good enough for a robustness number to be trusted, and why not."""

from saddlepoint.evaluation.diagnostics.measure import can_probe as can_probe
from saddlepoint.evaluation.diagnostics.measure import measure as measure
from saddlepoint.evaluation.diagnostics.sample import LEAST as LEAST
from saddlepoint.evaluation.diagnostics.sample import MOST as MOST
from saddlepoint.evaluation.diagnostics.sample import WITHIN as WITHIN
from saddlepoint.evaluation.diagnostics.verdict import conclude as conclude

__all__ = ["LEAST", "MOST", "WITHIN", "can_probe", "conclude", "measure"]
