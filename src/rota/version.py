"""Which rota this is: pyproject.toml says the same, as a test checks."""

__version__ = "0.1.0"
