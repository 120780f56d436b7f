"""Bodies as clients send them: in chunks, and far too long."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import requests

from accounts.models import ApiKey
from tests.service.conftest import by_management_key

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

MEGABYTE = b" " * 1024 * 1024


def in_pieces(*pieces: bytes) -> Iterator[bytes]:
    yield from pieces


def test_a_body_in_chunks_is_read_like_any_other(service, account, issued):
    program = by_management_key(account)
    headers = {"Content-Type": "application/json"}
    address = f"{service}/api/v1/keys/{issued.key.public_id}/"
    answer = program.patch(address, data=in_pieces(b'{"name":', b'"second"}'), headers=headers, timeout=20)
    assert (answer.status_code, answer.json()["name"]) == (200, "second")
    assert ApiKey.objects.get().name == "second"
    file = in_pieces(b"name,key\n", b"one,an-old-key-of-another-system\n")
    answer = program.post(f"{service}/api/v1/imports/", data=file, headers={"Content-Type": "text/csv"}, timeout=20)
    assert (answer.status_code, answer.json().get("lines")) == (202, 1)


@pytest.mark.parametrize("megabytes", [21, 2000])
def test_a_body_without_end_is_refused_before_anybody_keeps_it(service, catalogue, megabytes):
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(megabytes):
            sent.append(1)
            yield MEGABYTE

    try:
        status = requests.post(f"{service}/api/v1/keys/", data=pieces(), timeout=60).status_code
    except requests.ConnectionError:  # closed while the client was still sending
        status = 413
    assert status == 413
    assert len(sent) < 100
