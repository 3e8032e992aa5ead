"""What every test may use: devices, a browser where there is one, and no test that fails for lack of a GPU."""

import shutil

import jaxtyping
import pytest
import torch


def pytest_configure():
    """One thread: on tensors as small as those of the tests, two mostly wait for each other."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    """Every device that a test should run on; the GPU only under ``make test-gpu``."""
    return torch.device(request.param)


@pytest.fixture
def unchecked():
    """Annotations are not checked at run time, as for a user: what the package itself refuses can be seen."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def chromium():
    """Path of a Chromium that can run headless; the test is skipped without one."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
    if found is None:
        pytest.skip("needs Chromium")
    return found


@pytest.fixture(autouse=True)
def _drawn_alike():
    """Whatever a test draws from torch's own generator, such as weights or dropout, it draws in every run."""
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _untouched():
    """No test may leave another default type, number of threads or gradient mode behind."""
    before = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    yield
    after = torch.get_default_dtype(), torch.get_num_threads(), torch.is_grad_enabled()
    torch.set_default_dtype(before[0])
    torch.set_num_threads(before[1])
    torch.set_grad_enabled(before[2])
    assert after == before, "the default dtype, the number of threads or the gradient mode was changed"
