"""Closing an account."""

from __future__ import annotations

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.services.closing import close_and_erase
from api.base.access import Action
from api.base.addresses import EXAMPLE_ACCOUNT
from api.base.fields import Input, Text
from api.base.operations import Operation, at
from api.base.resource import View, answer, count_write


class CloseIn(Input):
    example = {"confirm": EXAMPLE_ACCOUNT}

    confirm = Text(max_length=8, help_text="The account's id.")


@at("accounts/<account_id:id>/close/", name="account-close")
class Close(View):
    @Operation(
        id="close_account",
        tag="accounts",
        who=(Action.CLOSE_ACCOUNT,),
        body=CloseIn,
        status=204,
        may_be_pending=True,
        may_conflict=True,
    )
    def post(self, request: Request, id: str) -> Response:
        """Close an account permanently. Its keys are refused at once and its names and people are erased; usage remains
        under public ids. Export it first. `confirm` must be the account's id."""
        account = self.find_account(id)
        if self.read_body()["confirm"] != account.public_id:
            raise serializers.ValidationError({"confirm": "Send the account's id: closing cannot be undone."})
        count_write(self.caller, account)
        return answer(close_and_erase(account, actor=self.caller.actor), 204, {"id": account.public_id})
