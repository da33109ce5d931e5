"""Runs a command as the unit has it, where no systemd runs: read-only root, no privileges, the unit's filter of system calls.

    sandbox.py UNIT WRITABLE[:WRITABLE...] COMMAND...

In a mount namespace of its own (`unshare --mount`), as root. What is taken from the unit: SystemCallFilter, RestrictAddressFamilies,
MemoryDenyWriteExecute, LimitNOFILE, UMask. The sets of system calls are those that systemd-analyze knows, their numbers those of the
kernel's headers.
"""

import ctypes
import os
import re
import resource
import struct
import subprocess
import sys

HEADER = "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"
NOBODY = 65534
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, PR_SET_MDWE = 24, 38, 22, 65
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 32, 4096, 16384, 1 << 18
ALLOW, EPERM = 0x7FFF0000, 0x00050000 | 1
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}
libc = ctypes.CDLL(None, use_errno=True)


def check(result, what):
    if result != 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def settings(path):
    """Each key with its values, in order."""
    found = {}
    for line in open(path, encoding="utf-8"):
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def members(name):
    """System calls of a set, or the one that is named."""
    if not name.startswith("@"):
        return {name}
    told = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True, capture_output=True, text=True)
    words = [line.strip() for line in told.stdout.splitlines()[1:]]
    return set().union(*(members(word) for word in words if word and not word.startswith("#")))


def allowed(filters):
    """Numbers of the system calls that the filters leave, `~` taking away."""
    names = set()
    for value in filters:
        each = set().union(*(members(word) for word in value.lstrip("~").split()))
        names = names - each if value.startswith("~") else names | each
    numbers = dict(re.findall(r"#define __NR_(\w+) (\d+)", open(HEADER, encoding="utf-8").read()))
    # The one that starts the command is systemd's own business there too.
    return sorted(int(numbers[name]) for name in names | {"execve"} if name in numbers), int(numbers["socket"])


def program(calls, socket, families):
    """A filter in classic BPF: the call's number, and of `socket` the family."""
    def insn(code, jt, jf, k):
        return struct.pack("HBBI", code, jt, jf, k)
    code = [insn(0x20, 0, 0, 0)]
    # Family: loaded when the call is `socket`; else the jump goes over it.
    code += [insn(0x15, 0, 2 + 2 * len(families), socket), insn(0x20, 0, 0, 16)]
    for family in families:
        code += [insn(0x15, 0, 1, family), insn(0x06, 0, 0, ALLOW)]
    code += [insn(0x06, 0, 0, EPERM)]
    for call in calls:
        if call != socket:
            code += [insn(0x15, 0, 1, call), insn(0x06, 0, 0, ALLOW)]
    return b"".join(code + [insn(0x06, 0, 0, EPERM)])


def mount(source, target, flags):
    check(libc.mount(source.encode(), target.encode(), None, flags, None), f"mount {target}")


def read_only(writable):
    """All mounts become read-only but those of /proc, /dev and /sys and the writable directories."""
    mount("none", "/", MS_REC | MS_PRIVATE)
    for path in writable:
        mount(path, path, MS_BIND)
    points = [line.split()[4].encode().decode("unicode_escape") for line in open("/proc/self/mountinfo", encoding="utf-8")]
    for point in points:
        spared = point in writable or re.match(r"/(proc|dev|sys)(/|$)", point)
        if not spared and os.path.exists(point):
            # A mount beneath another one cannot be reached by its name; what hides it is made read-only.
            libc.mount(None, point.encode(), None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV, None)
    try:
        open("/etc/xfer-sandbox-probe", "w", encoding="utf-8")
    except OSError:
        return
    raise RuntimeError("the root can be written to")


def main():
    unit, writable, command = settings(sys.argv[1]), sys.argv[2].split(":"), sys.argv[3:]
    calls, socket = allowed(unit["SystemCallFilter"])
    families = [FAMILIES[name] for name in unit["RestrictAddressFamilies"][0].split()]
    read_only(writable)
    # Where this machine allows fewer, these.
    limit = min(int(unit["LimitNOFILE"][0]), resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    os.umask(int(unit["UMask"][0], 8))
    for capability in range(64):
        # Those beyond the kernel's last one are refused.
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
    check(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "no new privileges")
    if unit["MemoryDenyWriteExecute"] == ["yes"]:
        check(libc.prctl(PR_SET_MDWE, 1, 0, 0, 0), "deny memory that is written and executed")
    code = program(calls, socket, families)
    buffer = ctypes.create_string_buffer(code)
    pointer = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
    check(libc.prctl(PR_SET_SECCOMP, 2, ctypes.c_char_p(pointer), 0, 0), "filter system calls")
    os.execv(command[0], command)


if __name__ == "__main__":
    main()
