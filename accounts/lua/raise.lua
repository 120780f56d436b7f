-- Raise the catalogue's version in one partition; it never falls.
--
-- KEYS[1]  the partition's copy of the version
-- ARGV[1]  the version
-- returns  the version that is there now

local stored = tonumber(redis.call('GET', KEYS[1]) or 0)
if tonumber(ARGV[1]) > stored then
  redis.call('SET', KEYS[1], ARGV[1])
  return tonumber(ARGV[1])
end
return stored
