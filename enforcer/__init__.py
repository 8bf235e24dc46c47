"""Enforcer: lawful blocking orders, made effective and answerable."""

__version__ = "0.1.0"
