"""The systemd units of the three programs and of a standby, with the narrowest rights.

Owns what the service manager takes away: users of their own, no capability but the gate's for
port 53 and the node's for the firewall, where it keeps one, the system calls that the gate was
seen to make. An installation's directory, the program's path and that right are all that differs
from host to host.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from enforcer.backends import durable
from enforcer.config import NodeConfig, read
from enforcer.errors import InputError

GATE_CALLS: Final = """\
accept4 access arch_prctl bind brk capset clock_getres clock_gettime clock_nanosleep clone
clone3 close close_range connect dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait epoll_wait
eventfd2 execve exit exit_group faccessat faccessat2 fcntl fstat fsync ftruncate futex getcwd
getdents64 getegid geteuid getgid getpeername getpid getppid getpriority getrandom getresgid
getresuid getrlimit getsockname getsockopt gettid gettimeofday getuid ioctl kill listen lseek
lstat madvise memfd_create mkdir mkdirat mmap mprotect mremap munmap newfstatat open openat
pidfd_open pidfd_send_signal pipe2 poll ppoll prctl pread64 prlimit64 pselect6 read readlink
readlinkat recvfrom recvmmsg recvmsg rename renameat renameat2 restart_syscall rseq rt_sigaction
rt_sigprocmask rt_sigreturn rt_sigtimedwait sched_getaffinity sched_getattr sched_setattr
sched_yield select sendfile sendmmsg sendmsg sendto set_robust_list set_tid_address setpriority
setsockopt sigaltstack socket socketpair stat statx sysinfo tgkill umask uname unlink unlinkat
vfork wait4 waitid write writev
"""
"""What the gate calls, from its start over an upgrade to its end (strace), and what other releases
of the C library and of Python call for the same."""

_COMMON: Final = """\
Restart=always
RestartSec=1
KillMode=mixed
UMask=0027
NoNewPrivileges=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
PrivateDevices=yes
PrivateTmp=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHome=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
ProtectSystem=strict
RemoveIPC=yes
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""

_GATE: Final = """\
[Unit]
Description=Enforcer's gate: answers DNS by the table, or passes it on
After=network.target
Before=nss-lookup.target
Wants=nss-lookup.target
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={program} gate --config {directory}/gate/gate.toml
# A reload that the new program would refuse fails here, and nothing has changed.
ExecReload={program} gate --check --config {directory}/gate/gate.toml
ExecReload=/bin/kill -HUP $MAINPID
WatchdogSec=30
TimeoutStopSec=20
User=enforcer-gate
Group=enforcer-gate
AmbientCapabilities=CAP_NET_BIND_SERVICE
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
LimitNOFILE=65536
ReadWritePaths={directory}/gate
ProcSubset=pid
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallErrorNumber=EPERM
SystemCallFilter={calls}
{common}
[Install]
WantedBy=multi-user.target
"""

_NODE: Final = """\
[Unit]
Description=Enforcer's node: follows and verifies, keeps the gate's table
After=network.target enforcer-gate.service
Wants=enforcer-gate.service
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={program} node --config {directory}/node/node.toml
# New certificates are taken by themselves within seconds; so at once.
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=infinity
TimeoutStopSec=30
User=enforcer-node
Group=enforcer-node
# The gate's socket is its group's; who may hand it tables stands in gate.toml (allowed_uids).
SupplementaryGroups=enforcer-gate
{firewall}LimitNOFILE=65536
ReadWritePaths={directory}/node
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
{common}
[Install]
WantedBy=multi-user.target
"""

_WITHOUT_FIREWALL: Final = """\
CapabilityBoundingSet=
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
"""

_WITH_FIREWALL: Final = """\
# For the kernel's packet filter; node.toml names it ([firewall]).
AmbientCapabilities=CAP_NET_ADMIN
CapabilityBoundingSet=CAP_NET_ADMIN
RestrictAddressFamilies=AF_INET AF_INET6 AF_NETLINK AF_UNIX
"""

_CONTROL: Final = """\
[Unit]
Description=Enforcer's control plane: takes acts, keeps the ledger
After=network.target
StartLimitIntervalSec=0

[Service]
Type=notify
# Whoever has the ledger's lock serves, and the other one stands by.
ExecStart={program} control --config {directory}/control/control.toml --standby
# New certificates are taken by themselves within seconds; so at once.
ExecReload=/bin/kill -HUP $MAINPID
TimeoutStartSec=infinity
TimeoutStopSec=30
User=enforcer-control
Group=enforcer-control
CapabilityBoundingSet=
LimitNOFILE=65536
ReadWritePaths={directory}/control
RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
{common}
[Install]
WantedBy=multi-user.target
"""

_UNITS: Final = {
    "enforcer-gate.service": _GATE,
    "enforcer-node.service": _NODE,
    "enforcer-control.service": _CONTROL,
    "enforcer-standby.service": _CONTROL.replace(
        "Enforcer's control plane: takes acts, keeps the ledger",
        "Enforcer's second control plane, in case that the first one ends",
    ),
}


def units(directory: Path, program: Path, *, with_firewall: bool = False) -> dict[str, str]:
    """Return the units by file name, for the installation in `directory`.

    `with_firewall` gives the node the right to keep one.

    Raises:
        InputError: a path is relative, or has a character that a unit would read otherwise.
    """
    for field, path in (("directory", directory), ("program", program)):
        if not path.is_absolute() or any(each in str(path) for each in " \t\n\"'\\%$;#"):
            raise InputError(
                f"the path {str(path)!r} cannot stand in a unit",
                advice="Use an absolute path of letters, digits, '.', '_', '-' and '/'.",
                field=field,
            )
    values = {
        "directory": directory,
        "program": program,
        "common": _COMMON,
        "firewall": _WITH_FIREWALL if with_firewall else _WITHOUT_FIREWALL,
    }
    return {
        name: text.format(calls=" ".join(GATE_CALLS.split()), **values)
        for name, text in _UNITS.items()
    }


def write_units(target: Path, directory: Path, program: Path) -> list[Path]:
    """Write the units into the directory `target`, and return where.

    The node's has the rights that its configuration needs.

    Raises:
        InputError: as for `units`; or the configuration is wrong.
        UnavailableError: they cannot be written.
    """
    texts = units(directory, program, with_firewall=_has_firewall(directory / "node" / "node.toml"))
    made = {target / name: text.encode() for name, text in texts.items()}
    durable.make_directory(target)
    durable.write_files(made)
    return list(made)


def _has_firewall(path: Path) -> bool:
    """Tell whether the node keeps a firewall; where there is no configuration yet, it does not."""
    return path.exists() and read(path, NodeConfig).firewall.backend != "none"
