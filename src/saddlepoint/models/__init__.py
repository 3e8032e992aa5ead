"""Models: small reference nets, files of weights, and the zoo of embedded ones."""

from saddlepoint.models.ensemble import Ensemble as Ensemble
from saddlepoint.models.ensemble import ensemble as ensemble
from saddlepoint.models.load import load_model as load_model
from saddlepoint.models.load import zoo_card as zoo_card
from saddlepoint.models.load import zoo_names as zoo_names
from saddlepoint.models.negated import Negated as Negated
from saddlepoint.models.nets import LeakyCNN as LeakyCNN
from saddlepoint.models.nets import LeNet as LeNet
from saddlepoint.models.nets import PoolCNN as PoolCNN
from saddlepoint.models.nets import SmallCNN as SmallCNN
from saddlepoint.models.residual import PreActResNet18 as PreActResNet18
from saddlepoint.models.residual import WideResNet as WideResNet
from saddlepoint.models.weights import file_sha256 as file_sha256
from saddlepoint.models.weights import load_weights as load_weights
from saddlepoint.models.weights import save_weights as save_weights

__all__ = [
    "Ensemble",
    "LeNet",
    "LeakyCNN",
    "Negated",
    "PoolCNN",
    "PreActResNet18",
    "SmallCNN",
    "WideResNet",
    "ensemble",
    "file_sha256",
    "load_model",
    "load_weights",
    "save_weights",
    "zoo_card",
    "zoo_names",
]
