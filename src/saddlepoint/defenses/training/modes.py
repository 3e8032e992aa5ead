"""The modes of a module that is trained."""

from torch import nn
from torch.nn.modules.batchnorm import _NormBase


def to_training(module: nn.Module) -> None:
    """Training mode, but for parts that are to stay as they are.

    In a module that is in training mode those are the parts that are not; in one that is in evaluation mode, as after
    loading, the normalisations whose parameters are all frozen. Their running statistics do not move.
    """
    if module.training:
        return
    module.train()
    for part in module.modules():
        parameters = list(part.parameters())
        if isinstance(part, _NormBase) and parameters and not any(each.requires_grad for each in parameters):
            part.eval()
