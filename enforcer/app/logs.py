"""How the programs log: one JSON object a line, on stderr; events are verbs, fields are few.

No address of a peer, no query name, nothing about a subscriber may be a field.
"""

from __future__ import annotations

import sys

import structlog


def configure_logs() -> None:
    """Log to stderr, unless somebody has decided otherwise before."""
    if structlog.is_configured():
        return
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
