"""The account that a service runs as, as the system's user database has it."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

_OWN: Final = frozenset({"HOME", "LOGNAME", "SHELL", "TMPDIR", "USER", "XDG_RUNTIME_DIR"})
"""Variables that say whose environment it is, and name folders that are that account's alone."""


class AccountError(Exception):
    """There is no such account, or this daemon may not start anything as it; the message says."""


@dataclass(frozen=True, slots=True)
class Account:
    """One row of the user database."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    def variables(self) -> Mapping[str, str]:
        """Return what login(1) sets for this account."""
        return {
            "HOME": self.home,
            "LOGNAME": self.name,
            "SHELL": self.shell or "/bin/sh",
            "USER": self.name,
        }


def find_account(name: str) -> Account:
    """Return the account of this name. Raises AccountError.

    Blocks where the system asks a directory server (LDAP); a local database takes some 50 µs.
    """
    import pwd

    try:
        row = pwd.getpwnam(name)
    except KeyError:
        raise AccountError(
            f"this machine has no account {name!r}: correct user, or make the account"
        ) from None
    return Account(row.pw_name, row.pw_uid, row.pw_gid, row.pw_dir, row.pw_shell)


def account_to_become(name: str | None) -> Account | None:
    """Return the account to switch to, or None where that is this process's own.

    Raises AccountError for an unknown one, and where this process is not root's and so may not.
    """
    if name is None:
        return None
    account = find_account(name)
    me = os.geteuid()
    if account.uid == me:
        return None
    if me != 0:
        raise AccountError(
            f"only root may start a service as user {name}, and the supervisor runs as uid {me}: "
            "remove user, or start the supervisor as root"
        )
    return account


def environment_for(
    user: str | None, environ: Mapping[str, str], *, keep: Collection[str] = ()
) -> Mapping[str, str]:
    """Return the daemon's environment as it would be, had `user` started the daemon.

    What is the daemon's own account's and not in `keep` is left out. Raises AccountError.
    """
    account = account_to_become(user)
    if account is None:
        return environ
    others = {name: value for name, value in environ.items() if name in keep or name not in _OWN}
    return {**account.variables(), **others}


def account_name(uid: int) -> str:
    """Return the name of the account with this number, or `uid 1234` where it has none."""
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
