-- Store a part's facts and version together, if they are newer, and load what its calendar counters were.
--
-- KEYS[1]   the hash that holds the part: an account's (also for its keys), or the catalogue's
-- ARGV[1-3] the fields of the version, of the facts, and of the load ('' where nothing is loaded)
-- ARGV[4-5] the version and the facts
-- then four for each calendar counter: its two fields (taken, window), the window's number, what was taken in it
--
-- returns {1 if it was stored else 0, the version that is there now}
--
-- The only writer of facts, for those who change them and for gates that refill Redis alike, so an older copy can
-- never replace a newer one. Counters are written where they are absent, and raised where the ledger knows more, as
-- after an old copy of Redis was restored; they are never lowered: what the take script has counted since stays.

local stored = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local wrote = 0
if tonumber(ARGV[4]) > stored then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[4], ARGV[2], ARGV[5])
  stored, wrote = tonumber(ARGV[4]), 1
end

if ARGV[3] ~= '' then
  local clock = redis.call('TIME')
  redis.call('HSETNX', KEYS[1], ARGV[3], clock[1] .. string.format('%06d', tonumber(clock[2])))
  for i = 6, #ARGV, 4 do
    local window = tonumber(redis.call('HGET', KEYS[1], ARGV[i + 1]) or -1)
    local taken = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or 0)
    if window < tonumber(ARGV[i + 2]) or (window == tonumber(ARGV[i + 2]) and taken < tonumber(ARGV[i + 3])) then
      redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 3], ARGV[i + 1], ARGV[i + 2])
    end
  end
end
return {wrote, stored}
