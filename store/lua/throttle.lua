-- Take one call from a throttle, if it has room (GCRA).
--
-- KEYS[1]  the microsecond at which it will be empty again
-- ARGV[1]  microseconds that one call counts for
-- ARGV[2]  microseconds that it has room for
--
-- returns 0 if the call was taken, else the microseconds until there is room

local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000000 + tonumber(clock[2])
local cost, room = tonumber(ARGV[1]), tonumber(ARGV[2])

local function fill(until_then)
  redis.call('SET', KEYS[1], string.format('%.0f', until_then), 'PX', math.ceil((until_then - now) / 1000) + 1000)
end

local stored, full = tonumber(redis.call('GET', KEYS[1]) or 0), now + room
local after = math.min(math.max(stored, now), full) + cost
if after <= full then
  fill(after)
  return 0
end
-- Further ahead than there is room for: the clock was set back, or the room has shrunk. Left alone it would stay full
-- until that time, and the wait would never come true.
if stored > full then fill(full) end
return after - full
