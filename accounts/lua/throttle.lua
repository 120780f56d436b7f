-- Take one call from a throttle, if it has room (GCRA).
--
-- KEYS[1]  the microsecond at which it is empty again
-- ARGV[1]  microseconds that one call counts for
-- ARGV[2]  microseconds that it may be filled with
--
-- returns 0 if the call was taken, else the microseconds until there is room

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local cost, room = tonumber(ARGV[1]), tonumber(ARGV[2])
local empty_at = math.min(math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now), now + room)
local wait = empty_at + cost - now - room
if wait > 0 then
  return wait
end
redis.call('SET', KEYS[1], string.format('%.0f', empty_at + cost), 'PX', math.ceil((empty_at + cost - now) / 1000) + 1000)
return 0
