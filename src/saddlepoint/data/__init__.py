"""Data sets: rows of inputs with their labels, by a spec string or from your own tensors."""

from saddlepoint.data.dataset import Dataset as Dataset
from saddlepoint.data.load import data_specs as data_specs
from saddlepoint.data.load import load_data as load_data

__all__ = ["Dataset", "data_specs", "load_data"]
