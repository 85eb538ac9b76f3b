"""Tidegate executes the migration of one workload from AWS to Azure."""

__all__ = ["__version__"]

__version__ = "0.1.0"
