-- Read the reports of all processes, and forget old ones.
--
-- KEYS[1]  the reports: a hash with a field per process, each 'SECOND REPORT'
-- ARGV[1]  seconds for which a report is kept
--
-- returns {seconds ago, report, seconds ago, report, ...}

local now, found = tonumber(redis.call('TIME')[1]), {}
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
  local second, report = string.match(fields[i + 1], '^(%d+) (.*)$')
  local age = second and now - tonumber(second)
  if not age or age > tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], fields[i])
  else
    found[#found + 1] = math.max(age, 0)
    found[#found + 1] = report
  end
end
return found
