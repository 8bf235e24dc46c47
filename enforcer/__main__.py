"""``python -m enforcer``."""

from enforcer.cli.main import app

app()
