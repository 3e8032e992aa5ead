"""Defenses: the outer minimisation."""
