"""The top level: exact exports, and a light import."""

import importlib.metadata
import subprocess
import sys
import types

import pytest

import saddlepoint

OPTIONAL = [
    "typer",
    "rich",
    "yaml",
    "jinja2",
    "PIL",
    "accelerate",
    "tensorboard",
    "kornia",
    "skimage",
    "cv2",
]
OPTIONAL += ["sklearn", "matplotlib", "pandas", "beartype", "saddlepoint.cli", "saddlepoint.report"]
SCRIPT = """
import sys
import numpy, safetensors.torch, torch
before = set(sys.modules)
sys.modules["jaxtyping"] = None  # as for a user, who does not have it
import saddlepoint
print(*set(sys.modules) - before)
"""


def order(name):
    """The order that ruff holds export lists in: constants, then classes, then the rest."""
    return (not name.isupper(), not name[0].isupper(), name)


def test_exports_are_sorted_exact_and_importable():
    names = [name for name in saddlepoint.__all__ if not name.startswith("__")]
    assert sorted(set(names), key=order) == names
    for name in names:
        assert hasattr(saddlepoint, name)
    public = {
        name
        for name, value in vars(saddlepoint).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert public <= set(names), "imported at the top level but not exported"
    modules = {name for name in names if isinstance(getattr(saddlepoint, name), types.ModuleType)}
    assert public == set(names) - modules, "exported lazily: import it at the top level"


def test_version_is_that_of_the_installed_package():
    assert saddlepoint.__version__ == importlib.metadata.version("saddlepoint")


@pytest.fixture(scope="module")
def loaded():
    """The modules that ``import saddlepoint`` loads beyond those that torch loads anyway."""
    done = subprocess.run([sys.executable, "-W", "error", "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@pytest.mark.parametrize("name", OPTIONAL)
def test_import_loads_no_optional_package(loaded, name):
    assert [module for module in loaded if module == name or module.startswith(f"{name}.")] == []


def test_import_check_can_fail(loaded):
    assert "saddlepoint.errors" in loaded
