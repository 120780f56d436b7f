-- Raise the catalogue's version in some partitions; it is never lowered.
--
-- KEYS     the partitions' copies of the version
-- ARGV[1]  the version
-- returns  the highest version in them now

local version, highest = tonumber(ARGV[1]), 0
for _, key in ipairs(KEYS) do
  local stored = tonumber(redis.call('GET', key) or 0)
  if version > stored then
    redis.call('SET', key, ARGV[1])
    stored = version
  end
  highest = math.max(highest, stored)
end
return highest
