import pytest
import torch

from saddlepoint import L1, L2, Classifier, Limits, Linf, Noise
from saddlepoint.attacks import NES
from saddlepoint.errors import SettingError
from saddlepoint.problem import Problem
from saddlepoint.testing import LinearModel, contract

test_contract = contract(NES(ball=Linf(0.1), steps=8, samples=100), within=0.9)
test_contract_l2 = contract(NES(ball=L2(0.3), steps=8, samples=32), within=0.8)


@pytest.mark.parametrize("ball", [Linf(0.4), L2(0.4)])
@pytest.mark.parametrize("step_size", [None, 0.03])
def test_its_steps_follow_the_mean_of_the_slopes(ball, step_size, monkeypatch):
    grads = list(torch.randn(4, 3, 5, generator=torch.Generator().manual_seed(0)))
    monkeypatch.setattr(
        "saddlepoint.attacks.nes.slopes", lambda problem, x, reach, n, draw, t: (grads[t], x[:, 0] != x[:, 0])
    )
    attack = NES(ball=ball, step_size=step_size, momentum=0.5)
    x, y = torch.full((3, 5), 0.5), torch.zeros(3, dtype=torch.int64)
    problem = Problem.open(attack, Classifier(lambda v: v), x, y, None, Noise(0), Limits())
    state, mean, at = attack.init(problem), torch.zeros_like(x), x
    size = 0.4 / 5 if step_size is None else step_size
    for t, grad in enumerate(grads):
        state = attack.step(problem, state, problem.look(state.x, gradient=False), t)
        mean = 0.5 * mean + 0.5 * grad
        way = mean.sign() if isinstance(ball, Linf) else mean / mean.norm(dim=1, keepdim=True)
        at = at + size * way
    assert torch.allclose(state.x, at, atol=1e-6), "no step reached the edge of the ball"


@pytest.mark.parametrize("attack", [NES(ball=Linf(0.05), steps=40, sigma=0.01)])
def test_it_comes_near_the_optimum_of_a_linear_model(attack):
    generator = torch.Generator().manual_seed(4)
    module = LinearModel(torch.randn(2, 20, generator=generator, dtype=torch.float64))
    x = 0.1 + 0.8 * torch.rand(30, 20, generator=generator, dtype=torch.float64)
    y = module(x).argmax(1)
    result = attack(Classifier(module), x, y)
    gain = _margin(module, result.x, y) - _margin(module, x, y)
    best = 0.05 * (module.weight[0] - module.weight[1]).abs().sum()
    assert (gain <= best * (1 + 1e-9)).all()
    assert gain.median() > 0.97 * best


def _margin(module, x, y):
    logits = module(x)
    return logits.gather(1, 1 - y[:, None]).squeeze(1) - logits.gather(1, y[:, None]).squeeze(1)


@pytest.mark.parametrize("momentum", [-0.1, 1.0, float("nan")])
def test_momentum_is_a_share(momentum):
    with pytest.raises(SettingError, match="momentum"):
        NES(ball=Linf(0.1), momentum=momentum)


def test_it_is_for_linf_and_l2():
    with pytest.raises(SettingError, match="Linf or L2"):
        NES(ball=L1(1.0))
