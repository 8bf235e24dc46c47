"""``python -m enforcer``."""

from enforcer.cli.main import app

if __name__ == "__main__":
    app(prog_name="enforcer")  # as it is called everywhere
