import pytest

from saddlepoint.data import Dataset, data_specs, load_data
from saddlepoint.errors import SpecError


def test_every_listed_spec_loads():
    assert data_specs() == ["mnist10k:train", "mnist10k:test"]
    for spec in data_specs():
        data = load_data(spec)
        assert isinstance(data, Dataset)
        assert data.name == spec


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("mnist10:test", "unknown data set 'mnist10'; did you mean 'mnist10k'"),
        ("zzz:test", "unknown data set 'zzz'; known: mnist10k"),
        ("", "unknown data set ''"),
        ("mnist10k", "has no split; write mnist10k:train or mnist10k:test"),
        ("mnist10k:", "unknown split of 'mnist10k' ''; known: test, train"),
        ("mnist10k:tests", "unknown split of 'mnist10k' 'tests'; did you mean 'test'"),
        ("cifar10:/data", "'cifar10' is not available in this version; use one of mnist10k:train, mnist10k:test"),
        ("hf:mnist:test", "'hf' is not available in this version"),
    ],
)
def test_unknown_spec_says_what_is_near(spec, message):
    with pytest.raises(SpecError, match=message):
        load_data(spec)
