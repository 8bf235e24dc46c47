"""The pure centre: no I/O, no clock, no third party; signature checks come in as a function."""
