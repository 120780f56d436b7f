-- Store the last facts of a part that is over, if they are newer, and free the space of its counters.
--
-- KEYS[1]   the account's hash
-- ARGV[1-3] the fields of the version, of the facts, and of the load
-- ARGV[4-5] the version and the facts
-- ARGV[6]   the subject of its calendar counters
-- then      MODEL:UNIT:WINDOW of each calendar counter that it might have
--
-- returns {1 if it was stored, 0 if it was there already, -1 if Redis has different facts; the version in Redis now}
--
-- Counters are only deleted when these facts are in force. Nothing takes from them any more: the take script answers STALE
-- to gates with older facts, and publish.lua loads no counters beside facts that are over.

local there = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2])
local stored = tonumber(there[1] or 0)
local wrote = 0
if tonumber(ARGV[4]) > stored then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], ARGV[2], ARGV[5])
  stored, wrote = tonumber(ARGV[4]), 1
elseif there[2] ~= ARGV[5] then
  return {-1, stored}
end

redis.call('HDEL', KEYS[1], ARGV[3])
for i = 7, #ARGV do
  local name = ARGV[6] .. ':' .. ARGV[i]
  redis.call('HDEL', KEYS[1], 'n:' .. name, 'w:' .. name, 's:' .. name)
end
return {wrote, stored}
