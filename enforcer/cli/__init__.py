"""The commands that people type; thin: each reads its options, calls `app` or `api`, and tells."""
