"""A net of reversed cross-entropy as the classifier that it is meant to be."""

from typing import Any, final

from torch import Tensor, nn


@final
class Negated(nn.Module):
    """A module whose logits are those of another one, negated: the classifier softmax(-Z) of a net that returns Z.

    For nets that were trained elsewhere to make their label the least likely class; those that were trained by
    ``ReversedLabelCrossEntropy`` need it not.

    Args:  net: returns Z (n, k), or something that carries it as ``logits``.

    Source:  Pang, Du, Dong & Zhu 2018, arXiv:1706.00633, section 3.1.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Logits (n, k)."""
        output: Any = self.net(x)
        logits: Tensor = getattr(output, "logits", output)
        return -logits
