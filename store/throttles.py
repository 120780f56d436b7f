"""How often sensitive calls may be made, counted in Redis for all processes together."""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network, ip_address
from math import ceil
from pathlib import Path

from redis.exceptions import RedisError

from store import clients, names
from store.commands import Script

log = logging.getLogger(__name__)

MICROSECONDS = 1_000_000
IPV6_PREFIX = 64  # the least that a provider's customer has, who may use any address in it
_LUA = Path(__file__).parent / "lua"
_TAKE, _REFUND = Script.in_file(_LUA / "throttle.lua"), Script.in_file(_LUA / "refund.lua")


class ThrottleUnavailable(Exception):
    """Redis cannot be reached, and this call must not go uncounted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Throttle:
    """A number of calls in a number of seconds, all at once if need be. `name` is part of the key in Redis."""

    name: str
    calls: int
    seconds: int
    goes_on_without_redis: bool

    def wait(self, who: str) -> int:
        """Count one call by `who`: 0 if it may be made, else the seconds to wait. Raises ThrottleUnavailable."""
        key = names.throttle(self.name, who)
        try:
            waiting = _TAKE.call([key], [self._cost, self.seconds * MICROSECONDS]).run(clients.sync_client())
        except RedisError as error:
            if not self.goes_on_without_redis:
                raise ThrottleUnavailable from error
            log.warning("the throttle %s is not counted: redis cannot be reached (%s)", self.name, type(error).__name__)
            return 0
        return ceil(int(waiting) / MICROSECONDS)

    def give_back(self, who: str) -> None:
        """Take back one call that was counted: it was none of those that the throttle is for."""
        try:
            _REFUND.call([names.throttle(self.name, who)], [self._cost]).run(clients.sync_client())
        except RedisError as error:  # it drains by itself
            log.warning(
                "the throttle %s got nothing back: redis cannot be reached (%s)", self.name, type(error).__name__
            )

    @property
    def _cost(self) -> int:
        return self.seconds * MICROSECONDS // self.calls


def network_of(address: str) -> str:
    """The network an address counts as: itself for IPv4, even if written as IPv6, and the /64 for IPv6."""
    try:
        found = ip_address(address)
    except ValueError:
        return address
    if not isinstance(found, IPv6Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(IPv6Network((int(found), IPV6_PREFIX), strict=False))


# All but guesses count per account, or making more credentials would allow more calls. An operator's calls count per
# token or person, since one token acts for every account (api/base/resource.py). Without Redis everything goes on, as
# secrets are too long to guess and changes stay pending anyway; only mail to strangers does not.
GUESSES = Throttle(name="guesses", calls=60, seconds=60, goes_on_without_redis=True)  # wrong credentials, per network
ISSUES = Throttle(name="issues", calls=600, seconds=60, goes_on_without_redis=True)  # new secrets
DAYS_ISSUES = Throttle(name="issues_of_a_day", calls=1000, seconds=86_400, goes_on_without_redis=True)  # the same
WRITES = Throttle(name="writes", calls=120, seconds=60, goes_on_without_redis=True)  # all other changes
OPERATORS_WRITES = Throttle(
    name="operators_writes", calls=1200, seconds=60, goes_on_without_redis=True
)  # of an operator
CHOICES = Throttle(name="choices", calls=20, seconds=600, goes_on_without_redis=True)  # of a person's language
EXPORTS = Throttle(name="exports", calls=20, seconds=3600, goes_on_without_redis=True)
EXPLANATIONS = Throttle(name="explanations", calls=120, seconds=60, goes_on_without_redis=True)
LOOKS = Throttle(name="looks", calls=600, seconds=60, goes_on_without_redis=True)  # what is left of limits
IMPORTS = Throttle(name="imports", calls=20, seconds=86_400, goes_on_without_redis=True)  # uploads
INVITATIONS = Throttle(name="invitations", calls=25, seconds=86_400, goes_on_without_redis=False)  # mails
MAILS_TO = Throttle(
    name="mails_to", calls=4, seconds=86_400, goes_on_without_redis=False
)  # per mailbox, of all accounts
NOTIFICATIONS = Throttle(
    name="notifications", calls=20, seconds=86_400, goes_on_without_redis=True
)  # mails about an account, or about a person's sign-ins

# Signing in. Nothing of it goes on uncounted: while Redis is away nobody signs in, and who is signed in stays so.
SIGN_INS_FROM = Throttle(name="sign_ins_from", calls=20, seconds=300, goes_on_without_redis=False)  # per network
SIGN_INS_OF = Throttle(name="sign_ins_of", calls=10, seconds=300, goes_on_without_redis=False)  # per user
SECOND_FACTORS_OF = Throttle(name="second_factors_of", calls=5, seconds=300, goes_on_without_redis=False)  # per user
CODES_USED = Throttle(name="codes_used", calls=1, seconds=120, goes_on_without_redis=False)  # per user and code
FORMS_FROM = Throttle(name="forms_from", calls=20, seconds=3600, goes_on_without_redis=False)  # sign-up, reset: network
RESETS_TO = Throttle(name="resets_to", calls=4, seconds=3600, goes_on_without_redis=False)  # per mailbox
REFUSALS_TOLD = Throttle(name="refusals_told", calls=1, seconds=60, goes_on_without_redis=True)  # in the audit log


def mailbox(email: str) -> str:
    """The mailbox that an address delivers to (a+b@example.org is a's), digested: Redis needs no list of people."""
    local, _, domain = email.strip().casefold().rpartition("@")
    return hashlib.sha256(f"{local.partition('+')[0]}@{domain}".encode()).hexdigest()[:32]
