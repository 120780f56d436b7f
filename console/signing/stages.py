"""Steps between a right password and a session."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.stages import EmailVerificationStage


class ConfirmAddress(EmailVerificationStage):
    """People who signed up confirm their address before they come in for the first time.

    Everybody else was let in by somebody who knows them: an operator, an inviter, an identity provider.
    """

    def handle(self) -> Any:
        if not self.login.signup and not self._never_confirmed():
            return None, True
        return super().handle()

    def _never_confirmed(self) -> bool:
        user = self.login.user
        addresses = EmailAddress.objects.filter(user=user)
        return user.last_login is None and addresses.exists() and not addresses.filter(verified=True).exists()
