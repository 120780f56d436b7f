"""A row that is chosen from a large table, by values that no page offers."""

from __future__ import annotations

import pytest

from accounts.models import ApiKey, Membership
from tests.accounts.admin.test_admin import list_of, page_of
from tests.accounts.forms import complaints, posted, send

pytestmark = pytest.mark.django_db(transaction=True)

NONE = ["§", "-1", "1.5", "٣", "9" * 18, "9" * 40, "9" * 5000]


@pytest.mark.parametrize("text", NONE, ids=[f"{text[:3]} {len(text)}" for text in NONE])
def test_a_row_that_cannot_be_is_refused_in_words(operator, account, text):
    add_key, add_member = list_of(ApiKey, "add"), list_of(Membership, "add")
    form = posted(operator.get(page_of(account)))
    member = {"memberships-TOTAL_FORMS": 1, "memberships-0-user": text, "memberships-0-role": "viewer"}
    for answer in (
        send(operator, add_key, for_account=text, name="new"),
        send(operator, add_member, user=text, account=text, role="viewer"),
        operator.post(page_of(account), {**form, **member}),
    ):
        assert answer.status_code == 200 and complaints(answer)
    for address in (f"{add_key}?for_account={text}", f"{add_member}?user={text}&account={text}"):
        assert operator.get(address).status_code == 200
