-- Store a part's facts and version together, if they are newer, and load its calendar counters.
--
-- KEYS[1]   the hash that holds the part: an account's (for its keys too), or the catalogue's
-- ARGV[1-3] the fields of the version, of the facts, and of the load ('' if nothing is loaded)
-- ARGV[4-5] the version and the facts
-- then seven for each calendar counter: its three fields (taken, window, loaded for), the window's number, what the ledger
-- says was taken in it, the microsecond at which its limit came into force, and the second at which the window ends
--
-- returns {1 if it was stored, 0 if it was there already, -1 if Redis has different facts; the version in Redis now}
--
-- -1 tells the writer that the database is behind Redis (a backup was restored, or a lagging replica took over), so its
-- versions mean nothing here until they are raised above those in Redis.
--
-- Apart from bury.lua, which stores the facts of a part that is over, this is the only writer of facts, both for changes
-- and for gates that refill Redis, so an older copy can never replace a newer one. Counters are written where they are
-- absent, and raised where the ledger knows more, as after an old copy of Redis was restored. They are never lowered:
-- what the take script has counted since stays. A counter of a window that has yet to begin was left by a clock that
-- jumped, and is replaced, but not in the hour before that window, in which the take script may still count in it.

local there = redis.call('HMGET', KEYS[1], ARGV[1], ARGV[2])
local stored = tonumber(there[1] or 0)
local wrote = 0
if tonumber(ARGV[4]) > stored then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], ARGV[2], ARGV[5])
  stored, wrote = tonumber(ARGV[4]), 1
elseif there[2] ~= ARGV[5] then
  wrote = -1
end

-- A key without secrets and a closed account take nothing any more: a reader that comes late must not load the counters
-- again that bury.lua has deleted.
local now = wrote == 1 and ARGV[5] or there[2] or ''
local is_over = string.find(now, '"secrets":[]', 1, true) or string.find(now, '"state":"closed"', 1, true)

if ARGV[3] ~= '' and not is_over then
  local clock = redis.call('TIME')
  redis.call('HSETNX', KEYS[1], ARGV[3], clock[1] .. string.format('%06d', tonumber(clock[2])))
  for i = 6, #ARGV, 7 do
    local window = tonumber(redis.call('HGET', KEYS[1], ARGV[i + 1]) or -1)
    local taken = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0)
    local this, ledger = tonumber(ARGV[i + 3]), tonumber(ARGV[i + 4])
    local left = tonumber(ARGV[i + 6]) - tonumber(clock[1])
    local is_ahead = window > this and left > 0 and (window > this + 1 or left > 3600)
    if window < this or (window == this and taken < ledger) or is_ahead then
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 4], ARGV[i + 1], ARGV[i + 3])
    end
    if tonumber(redis.call('HGET', KEYS[1], ARGV[i + 2]) or 0) < tonumber(ARGV[i + 5]) then
      redis.call('HSET', KEYS[1], ARGV[i + 2], ARGV[i + 5])
    end
  end
end
return {wrote, stored}
