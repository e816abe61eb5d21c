"""The version of lossc, in one place: pyproject.toml, `lossc --version` and every emitted file read it here."""

__version__ = "0.1.0"
