"""docs/usage.md, compared with the serializers."""

from __future__ import annotations

import re

import pytest

from api.explain import ExplainIn
from api.limits import LimitsQuery
from api.usage import UsageQuery
from quotas.models import UsageDay, UsageHour
from tests.test_docs import code_in, rows_of, text_of

PAGE = "docs/usage.md"


@pytest.mark.parametrize(("heading", "form"), [("## Usage", UsageQuery), ("## Explain", ExplainIn)])
def test_the_table_has_exactly_the_fields_of_the_form(heading, form):
    documented = {name for row in rows_of(text_of(PAGE), heading) for name in code_in(row[0])}
    assert documented == set(form().fields)


def test_the_page_describes_how_to_ask_for_limits():
    assert f"GET /api/v1/limits/?{'=ID&'.join(LimitsQuery().fields)}=SLUG" in text_of(PAGE)


def test_the_indexes_on_the_page_exist():
    indexes = {
        index.name for model in (UsageDay, UsageHour) for index in (*model._meta.indexes, *model._meta.constraints)
    }
    named = set(re.findall(r"`(usage_\w+)`", text_of(PAGE)))
    assert len(named) == 6 and named <= indexes
