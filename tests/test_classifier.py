"""The boundary: what goes in, what comes out, what is counted, and what is put back."""

import pytest
import torch
from torch import nn

from saddlepoint import Bounds, Classifier, Meter
from saddlepoint.errors import ArgumentTypeError, InputError, ModelError, SettingError


class Output:
    """Like the output classes of Hugging Face."""

    def __init__(self, logits):
        self.logits = logits


@pytest.fixture
def x():
    return torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def net(features=48, classes=3):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Flatten(), nn.Linear(features, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, classes)
        )


def test_every_row_is_counted(x):
    model = Classifier(net().eval())
    assert repr(model.meter) == "Meter(forwards=0, backwards=0)"
    model.logits(x)
    model.predict(x)
    assert (model.meter.forwards, model.meter.backwards) == (10, 0)
    leaf = x.clone().requires_grad_()
    logits = model.logits(leaf)
    torch.autograd.grad(logits.sum(), leaf, retain_graph=True)
    torch.autograd.grad(logits[:, 0].sum(), leaf)
    assert (model.meter.forwards, model.meter.backwards) == (15, 10)
    assert isinstance(model.meter, Meter)


def test_backwards_are_counted_through_frozen_parameters_only(x):
    model = Classifier(net())
    with model.frozen():
        assert not model.logits(x).requires_grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.5, 0.25), ([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]), (torch.tensor([0.1, 0.2, 0.3]), 2.0), (None, 3.0), (0.3, None)],
)
def test_normalisation_equals_that_by_hand(x, dtype, mean, std):
    x, module = x.to(dtype), nn.Flatten()
    low = torch.as_tensor(0.0 if mean is None else mean, dtype=torch.float64).view(-1, 1, 1)
    wide = torch.as_tensor(1.0 if std is None else std, dtype=torch.float64).view(-1, 1, 1)
    found = Classifier(module, mean=mean, std=std).logits(x)
    assert found.dtype == dtype
    wanted = ((x.double() - low) / wide).flatten(1)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)


def test_channels_of_normalisation_must_be_those_of_the_input(x):
    model = Classifier(nn.Flatten(), mean=[0.1, 0.2], std=[1.0, 1.0])
    with pytest.raises(InputError, match=r"mean has 2 channels, the inputs have shape \(5, 3, 4, 4\)"):
        model.logits(x)


@pytest.mark.parametrize("std", [0.0, [1.0, 0.0, 1.0], -1.0, float("nan")])
def test_std_must_be_positive(std):
    with pytest.raises(SettingError, match="must be positive"):
        Classifier(nn.Flatten(), std=std)


def flags(module):
    return [m.training for m in module.modules()], [p.requires_grad for p in module.parameters()]


def mixed():
    module = net().train()
    module[2].eval()
    module[1].weight.requires_grad_(False)
    return module


def test_frozen_restores_every_flag_of_its_own():
    module = mixed()
    before = flags(module)
    with Classifier(module).frozen():
        assert not any(flags(module)[0])
        assert not any(flags(module)[1])
    assert flags(module) == before


def test_frozen_restores_after_an_exception_and_nests():
    module = mixed()
    before, model = flags(module), Classifier(module)
    with pytest.raises(KeyError), model.frozen(), model.frozen():
        raise KeyError
    assert flags(module) == before
    with model.frozen():
        with model.frozen():
            pass
        assert not any(flags(module)[0])
    assert flags(module) == before


def test_predict_touches_neither_flags_nor_statistics(x):
    module = mixed()
    before, state = flags(module), {k: v.clone() for k, v in module.state_dict().items()}
    Classifier(module).predict(x)
    assert flags(module) == before
    assert all(torch.equal(v, state[k]) for k, v in module.state_dict().items())


def test_predict_in_chunks_gives_the_same_and_takes_no_rows(x):
    model = Classifier(net())
    whole = model.predict(x)
    assert torch.equal(model.predict(x, batch_size=2), whole)
    assert whole.dtype == torch.int64
    assert model.predict(x[:0]).shape == (0,)


@pytest.mark.parametrize("form", [lambda z: z, lambda z: z[:, 0], Output, lambda z: Output(z[:, 0])])
def test_one_logit_means_two_classes(x, form):
    model = Classifier(lambda x: form(x.flatten(1)[:, :1]))
    logits = model.logits(x)
    assert torch.equal(logits, torch.stack([torch.zeros(5), x[:, 0, 0, 0]], 1))
    assert model.num_classes == 2


def test_output_objects_with_logits(x):
    module = net().eval()
    model = Classifier(lambda x: Output(module(x)))
    assert model.num_classes is None
    assert torch.equal(model.logits(x), module(x))
    assert model.num_classes == 3


def test_functions_are_models_and_need_no_freezing(x):
    def double(x):
        return 2 * x.flatten(1)

    model = Classifier(double)
    with model.frozen():
        assert torch.equal(model.logits(x), 2 * x.flatten(1))
    assert model.device.type == "cpu"


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: [1.0], "the model returned list"),
        (lambda x: x.flatten(1).argmax(1), "float tensor of logits"),
        (lambda x: x, r"shape \(5, 3, 4, 4\) for 5 inputs"),
        (lambda x: x.flatten(1)[:2], r"shape \(2, 48\) for 5 inputs"),
        (lambda x: x.flatten(1)[:, :0], r"shape \(5, 0\)"),
        (lambda x: x.sum(), r"shape \(\)"),
        (lambda x: None, "NoneType"),
    ],
)
def test_what_is_no_row_of_logits_per_input_is_refused(x, output, message):
    with pytest.raises(ModelError, match=message):
        Classifier(output).logits(x)


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_called_is_no_model():
    with pytest.raises(ArgumentTypeError, match="must be an nn.Module or a function of a batch, got int"):
        Classifier(3)


def test_device_must_be_that_of_the_parameters():
    with pytest.raises(SettingError, match="move it first: module.to"):
        Classifier(net(), device="meta")
    assert Classifier(net(), device="cpu").device == torch.device("cpu")
    assert Classifier(nn.Flatten(), device="meta").device.type == "meta"


def test_bounds():
    assert Classifier(nn.Flatten()).bounds == Bounds(0, 1)
    assert Classifier(nn.Flatten(), bounds=(-1, 2)).bounds == Bounds(-1.0, 2.0)


def test_model_runs_in_its_own_precision_and_answers_in_that_of_the_input(x):
    module = net().eval()
    logits = Classifier(module).logits(x.double())
    assert logits.dtype == torch.float64
    assert torch.equal(logits, module(x).double())
    leaf = x.double().requires_grad_()
    assert torch.autograd.grad(Classifier(module).logits(leaf).sum(), leaf)[0].dtype == torch.float64


def test_autocast_lowers_only_the_inside(x):
    module = net().eval()
    seen = []
    module[1].register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    logits = Classifier(module, autocast=torch.bfloat16).logits(x)
    assert seen == [torch.bfloat16]
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, module(x), rtol=0.1, atol=0.1)


def test_fingerprint_changes_with_everything_that_can_move_a_logit():
    module = net()
    first = Classifier(module).fingerprint
    assert len(first) == 64
    assert Classifier(net()).fingerprint == first
    with torch.no_grad():
        module[1].weight[0, 0] = torch.nextafter(module[1].weight[0, 0], torch.tensor(9.0))
    others = [
        Classifier(module),
        Classifier(net(), mean=0.5),
        Classifier(net(), std=0.5),
        Classifier(net(), bounds=(0, 2)),
        Classifier(net().double()),
    ]
    module = net()
    module[2].running_mean[0] = 1.0
    others.append(Classifier(module))
    assert len({first, *(model.fingerprint for model in others)}) == 7


def test_fingerprint_of_functions_and_other_types_of_weights():
    def one(x):
        return x.flatten(1)

    def two(x):
        return x.flatten(1)

    assert Classifier(one).fingerprint == Classifier(one).fingerprint
    assert Classifier(one).fingerprint != Classifier(two).fingerprint
    assert Classifier(net().to(torch.bfloat16)).fingerprint != Classifier(net()).fingerprint

    class Callable:
        def __call__(self, x):
            return x.flatten(1)

    assert len(Classifier(Callable()).fingerprint) == 64


@pytest.mark.parametrize("error", [RuntimeError("two\nlines"), KeyError(), ZeroDivisionError("x"), AssertionError()])
def test_an_error_of_the_module_says_for_which_inputs(x, error):
    def module(x):
        raise error

    with pytest.raises(ModelError, match=r"failed on inputs of shape \(5, 3, 4, 4\) \(torch.float32\): ") as caught:
        Classifier(module).logits(x)
    assert type(error).__name__ in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("full"), MemoryError(), InputError("ours"), UserWarning("told"), KeyboardInterrupt()],
)
def test_what_others_must_see_stays_what_it_is(x, error):
    def module(x):
        raise error

    with pytest.raises(type(error)) as caught:
        Classifier(module).logits(x)
    assert caught.value is error


def test_a_look_that_is_not_counted(x):
    model = Classifier(net(), mean=0.5)
    twin = model.uncounted()
    with model.frozen():
        assert torch.equal(twin.logits(x), model.logits(x))
    assert (model.meter.forwards, twin.meter.forwards) == (5, 5)


def test_gradient_reaches_the_input_through_everything(x):
    module = net().eval()
    model = Classifier(module, mean=[0.1, 0.2, 0.3], std=[0.5, 0.5, 0.5])
    leaf = x.clone().requires_grad_()
    (grad,) = torch.autograd.grad(model.logits(leaf).sum(), leaf)
    other = x.clone().requires_grad_()
    by_hand = module((other - torch.tensor([0.1, 0.2, 0.3]).view(-1, 1, 1)) / 0.5)
    torch.testing.assert_close(grad, torch.autograd.grad(by_hand.sum(), other)[0])
