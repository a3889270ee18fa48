"""rota runs AI agents on a schedule, unattended and safely."""

__version__ = "0.1.0"
