"""Commands sent together by redis-py: scripts go with their source once, and by digest after that."""

from __future__ import annotations

import pytest
from redis.exceptions import ResponseError

from store.clients import send_all
from store.commands import Script, Sendable, command

SUM = Script("return tonumber(ARGV[1]) + tonumber(redis.call('GET', KEYS[1]) or 0)")


def test_replies_come_in_the_order_of_the_commands(redis_db):
    calls: list[Sendable] = [
        SUM.call(["{a}:n"], [1]),
        command("SET", "{a}:n", 10),
        SUM.call(["{a}:n"], [1]),
        SUM.call(["{a}:n"], [2]),
    ]
    assert [int(reply) if str(reply).isdigit() else reply for reply in send_all(calls)] == [1, True, 11, 12]


def test_the_source_goes_once(redis_db):
    redis_db.script_flush()
    redis_db.config_resetstat()
    send_all([SUM.call(["{a}:n"], [1]) for _ in range(5)])
    stats = redis_db.info("commandstats")
    assert (stats["cmdstat_eval"]["calls"], stats["cmdstat_evalsha"]["calls"]) == (1, 4)


def test_scripts_flushed_between_two_commands_are_sent_again(redis_db):
    calls: list[Sendable] = [
        SUM.call(["{a}:n"], [1]),
        command("SCRIPT", "FLUSH"),
        SUM.call(["{a}:n"], [2]),
        SUM.call(["{a}:n"], [3]),
    ]
    assert send_all(calls)[2:] == [2, 3]


def test_a_refused_command_is_an_error_for_the_caller(redis_db):
    with pytest.raises(ResponseError, match="wrong number of arguments"):
        send_all([command("SET", "{a}:n", 1), command("GET"), command("SET", "{a}:n", 2)])
    assert redis_db.get("{a}:n") == "2"  # the others were executed
