"""``enforcer node dashboard``: a Grafana dashboard over the metrics that nodes show."""

from __future__ import annotations

from importlib.resources import files


def dashboard() -> str:
    """Return the dashboard as Grafana imports it, JSON."""
    return files("enforcer.app").joinpath("dashboard.json").read_text("utf-8")
