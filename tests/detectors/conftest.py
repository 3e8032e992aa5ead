import pytest
from detected import net_of, rows_of

from saddlepoint import Classifier


@pytest.fixture
def model():
    return Classifier(net_of(), mean=0.5, std=0.25)


@pytest.fixture
def rows(model):
    """Rows, and the model's own predictions: every class has some."""
    x = rows_of(300)
    return x, model.predict(x)
