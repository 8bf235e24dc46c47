"""Compiled from native/; the stubs beside this file say what each module offers."""
