"""How the gate's processes log: one JSON object a line on stderr, unless somebody decided else."""

from __future__ import annotations

import sys

import structlog


def log_to_stderr() -> None:
    """Write each event as one line of JSON, unless whoever runs this process has decided."""
    if not structlog.is_configured():
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.JSONRenderer(),
            ],
            logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        )
