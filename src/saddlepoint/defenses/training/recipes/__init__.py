"""Published and shipped settings of training, as data: one YAML file each."""

from saddlepoint.defenses.training.recipes.reading import recipes as recipes
from saddlepoint.defenses.training.recipes.recipe import Recipe as Recipe
from saddlepoint.defenses.training.recipes.recipe import customary as customary

__all__ = ["Recipe", "customary", "recipes"]
