"""The wiring: the one place that sees services and backends together."""
