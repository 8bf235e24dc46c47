"""One technology a file; each translates foreign exceptions into enforcer.errors at the border."""
