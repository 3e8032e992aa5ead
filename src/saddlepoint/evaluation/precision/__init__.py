"""In which form of a model attacks are faster and lose no verdict, found by a short measured trial."""

from saddlepoint.evaluation.precision.forms import FLOAT32 as FLOAT32
from saddlepoint.evaluation.precision.forms import PRECISIONS as PRECISIONS
from saddlepoint.evaluation.precision.forms import Form as Form
from saddlepoint.evaluation.precision.forms import native as native
from saddlepoint.evaluation.precision.forms import offered as offered
from saddlepoint.evaluation.precision.trial import ROWS as ROWS
from saddlepoint.evaluation.precision.trial import conclude as conclude
from saddlepoint.evaluation.precision.trial import measure as measure
from saddlepoint.evaluation.precision.trial import untried as untried

__all__ = ["FLOAT32", "PRECISIONS", "ROWS", "Form", "conclude", "measure", "native", "offered", "untried"]
