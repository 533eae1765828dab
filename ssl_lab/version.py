"""Kept here so that everything can know it without importing the package's face."""

__version__ = "0.2.0"
