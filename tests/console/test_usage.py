"""Overview and usage: what the ledger has, told apart and added up, and the limits that are left."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta

import pytest
from django.http import QueryDict
from django.utils import timezone

from accounts.models import ApiKey
from accounts.services.keys import issue_key, revoke_key
from authsvc.gate.decision import RULES
from console.charts import OTHERS, chart_of, nice_top, steps
from console.templatetags.console import compact, relative
from console.usage.asked import read
from console.usage.reasons import WORDS, reason_of
from quotas.usage.reading import UsageRow
from tests.accounts.forms import posted
from tests.conftest import ACTOR
from tests.console.conftest import person

pytestmark = pytest.mark.django_db(transaction=True)


def overview(account) -> str:
    return f"/console/{account.public_id}/"


# Overview


def test_a_new_account_sees_three_steps_to_a_first_call(account, owner, settings):
    settings.GATEWAY_URL = "https://models.example.com"
    html = owner.get(overview(account)).content.decode()
    assert html.count("<li") >= 3 and "curl https://models.example.com/sm/" in html and "Create a key" in html


def test_the_first_key_of_an_account_takes_a_name_and_nothing_else(account, owner):
    form = posted(owner.get(overview(account)), name="laptop")
    answers = [owner.post(f"{overview(account)}keys/new/", form) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 409]  # sent twice, made once
    key = ApiKey.objects.get()
    assert (key.name, key.narrowed_to, key.expires_at) == ("laptop", None, None)
    assert 'name="key_id"' not in owner.get(overview(account)).content.decode()


def test_a_viewer_is_offered_no_first_key(account):
    html = person("vic", account, "viewer").get(overview(account)).content.decode()
    assert "Create a key" in html and 'name="key_id"' not in html


def test_the_first_step_is_done_once_there_is_a_key(account, owner, issued):
    assert 'class="done"' in owner.get(overview(account)).content.decode()


def test_the_overview_adds_up_what_was_used(account, owner, issued, used):
    now = timezone.now()
    used(issued.key, calls=1200, refused=3, at=now)
    used(issued.key, calls=5, at=now - timedelta(days=1))
    html = owner.get(overview(account)).content.decode()
    assert "<dd>1,200</dd>" in html and "5 yesterday" in html and "<dd>3</dd>" in html
    assert "1,000 units a month, shared by all keys" in html and 'of 1,000, <span class="nowrap">renews' in html


def test_the_overview_names_keys_that_expire_soon(account, owner, used):
    key = issue_key(account, name="soon", expires_at=timezone.now() + timedelta(days=2), actor=ACTOR).key
    far = issue_key(account, name="far", expires_at=timezone.now() + timedelta(days=200), actor=ACTOR).key
    used(far)
    html = owner.get(overview(account)).content.decode()
    assert "soon</a> expires" in html and "far</a> expires" not in html
    revoke_key(key, actor=ACTOR)
    assert "soon</a> expires" not in owner.get(overview(account)).content.decode()


def test_refusals_are_listed_with_what_to_do(account, owner, issued, used):
    used(issued.key, refused=9, reason="over_limit", by_limit="key:*:requests:minute")
    used(issued.key, refused=8, reason="over_limit", by_limit="account:*:units:month")
    used(issued.key, "-", calls=0, refused=5, reason="unknown_model")
    used(issued.key, "lg", calls=0, refused=4, reason="model_not_allowed")
    used(issued.key, refused=3, reason="over_limit", by_limit="account:*:units:day")  # a limit that is gone
    used(issued.key, refused=2, reason="word_of_a_later_version")
    used(issued.key, refused=7)  # counted by a version without reasons
    html = owner.get(overview(account)).content.decode()
    told = [
        "Over a limit: 60 calls a minute, bursts of 10, for each key",
        "It makes room again all the time",
        "Over a limit: 1,000 units a month, shared by all keys",
        "Once used up, it renews on ",
        "Unknown model",
        "No model has this path",
        "Model not allowed",
        "The plan does not include this model",
        "The limit has been removed since",
        "Word of a later version",
        "7 more calls were refused",
    ]
    places = [html.index(words) for words in told]
    assert places == sorted(places)
    assert html.count(f"keys/{issued.key.public_id}/") >= 6 and "/errors/quota_exceeded" in html


def test_refusals_from_before_reasons_were_counted_are_still_told(account, owner, issued, used):
    used(issued.key, refused=9)
    assert "9 calls were refused before reasons were counted" in owner.get(overview(account)).content.decode()


def test_each_reason_has_words_of_its_own():
    words = {rule.verdict.word for rule in RULES}
    assert words == set(WORDS)
    for word in words:
        assert all(reason_of(word, model="sm", plan_models={"sm"}))


def test_usage_of_another_account_is_never_in_it(account, owner, issued, pro_key, used):
    used(pro_key.key, calls=77777, refused=77777)
    used(issued.key)
    for path in ("", "usage/", "usage.csv"):
        answer = owner.get(f"{overview(account)}{path}", {"key": pro_key.key.public_id} if path else {})
        text = b"".join(answer).decode()
        assert "77777" not in text and "77,777" not in text


# Usage


def test_usage_is_told_apart_by_model_or_key(account, owner, issued, used):
    other = issue_key(account, name="second", actor=ACTOR).key
    used(issued.key, calls=3)
    used(other, "lg", calls=4)
    page = f"{overview(account)}usage/"
    by_model = owner.get(page).content.decode()
    assert "<li><i" in by_model and ">sm</li>" in by_model and ">lg</li>" in by_model
    by_key = owner.get(page, {"by": "key"}).content.decode()
    assert ">first</li>" in by_key and ">second</li>" in by_key
    one = owner.get(page, {"by": "key", "key": other.public_id}).content.decode()
    assert ">second</li>" in one and ">first</li>" not in one


def test_two_keys_of_one_name_are_two_series(account, owner, issued, used):
    other = issue_key(account, name="first", actor=ACTOR).key
    used(issued.key)
    used(other)
    html = owner.get(f"{overview(account)}usage/", {"by": "key"}).content.decode()
    assert f"first ({other.public_id})" in html and f"first ({issued.key.public_id})" in html


def test_the_csv_has_every_row_and_no_formula(account, owner, used):
    key = issue_key(account, name="=cmd()", actor=ACTOR).key
    used(key, calls=4, refused=1)
    answer = owner.get(f"{overview(account)}usage.csv", {"by": "key", "range": "24h"})
    assert "attachment" in answer["Content-Disposition"] and "no-store" in answer["Cache-Control"]
    (row,) = csv.DictReader(io.StringIO(answer.getvalue().decode()))
    assert (row["key"], row["name"], row["allowed"], row["refused"], row["units"]) == (
        key.public_id,
        "'=cmd()",
        "4",
        "1",
        "4",
    )


@pytest.mark.parametrize(
    ("query", "days", "interval"),
    [
        ("", 30, "day"),
        ("range=24h", 1, "hour"),
        ("range=7d", 7, "day"),
        ("range=90d", 90, "day"),
        ("range=nonsense&interval=week&by=x", 30, "day"),
        ("from=2026-03-01&to=2026-03-31", 31, "day"),
        ("from=2026-03-31&to=2026-03-01", 30, "day"),
        ("from=2024-01-01&to=2026-12-31", 1096, "month"),
        ("from=2026-03-01&to=2026-03-31&interval=hour", 31, "day"),
        ("from=1970-01-01&to=2199-12-31&interval=hour", 3660, "month"),
        ("from=9999-99-99&to=x", 30, "day"),
        ("range=12m", 365, "month"),
    ],
)
def test_a_query_is_read_as_far_as_it_makes_sense(query, days, interval):
    asked = read(QueryDict(query))
    assert asked.interval == interval
    assert abs((asked.end - asked.start) / timedelta(days=1) - days) < 32 if interval == "month" else 1.1
    if not asked.name:
        assert asked.end - asked.start == timedelta(days=days)


def test_a_range_of_ones_own_ends_with_its_last_day():
    asked = read(QueryDict("from=2026-02-27&to=2026-03-02"))
    assert (asked.start, asked.last_day) == (datetime(2026, 2, 27, tzinfo=UTC), date(2026, 3, 2))
    assert len(steps(asked.start, asked.end, "day")) == 4


# Charts


def row(day: int, model: str, allowed: int, refused: int = 0) -> UsageRow:
    start = datetime(2026, 3, day, tzinfo=UTC)
    return UsageRow(start, start + timedelta(days=1), None, None, model, allowed, refused, 0, allowed)


def chart(*rows: UsageRow):
    moments = steps(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 3, 4, tzinfo=UTC), "day")
    return chart_of(rows, moments, "day", series_of=lambda one: one.model or "", words="")


def test_a_bar_stacks_its_parts_and_says_them():
    (first, second, third) = chart(row(1, "sm", 60, 20), row(1, "lg", 20), row(3, "sm", 1)).bars
    assert [(box.tone, box.y, box.height) for box in first.boxes] == [
        ("s1", "40", "60"),
        ("s2", "20", "20"),
        ("sr-refused", "0", "20"),
    ]
    assert first.title == "1 Mar\nsm: 60\nlg: 20\nRefused: 20"
    assert second.title == "2 Mar\nNo calls" and not second.boxes
    assert third.values == [1, 0, 0]


def test_what_is_beyond_four_series_is_one():
    found = chart(*(row(1, f"m{number}", 10 - number) for number in range(7)))
    assert [name for _, name in found.series] == ["m0", "m1", "m2", "m3", OTHERS]
    assert found.bars[0].values == [10, 9, 8, 7, 6 + 5 + 4]


@pytest.mark.parametrize(("most", "top"), [(0, 2), (1, 2), (3, 4), (7, 8), (9, 10), (11, 20), (99, 100), (1234, 2000)])
def test_a_scale_ends_at_a_round_number(most, top):
    assert nice_top(most) == top


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "just now"),
        (-5, "in less than a minute"),
        (61, "1 minute ago"),
        (7300, "2 hours ago"),
        (-86_400 * 6 - 9, "in 6 days"),
        (86_400 * 90, "2 Dec 2025"),
    ],
)
def test_times_are_said_as_people_say_them(seconds, words):
    now = datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert relative(now - timedelta(seconds=seconds), now) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0, "0"), (5000, "5,000"), (20_000, "20k"), (1_500_000, "1.5M"), (2e9, "2B")]
)
def test_an_axis_is_short(value, words):
    assert compact(value) == words
