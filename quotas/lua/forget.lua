-- Take a usage hash off the list of changed ones, if it still is as it was copied.
--
-- KEYS[1]   the set of changed usage hashes
-- KEYS[2]   the usage hash
-- ARGV[1]   seconds to keep it from now on, 0 to leave its expiry alone, -1 to delete it
-- ARGV[2+]  fields, each with the value that was copied; '' for a missing one
-- returns   1 if it was taken off, 0 if it has changed since

for i = 2, #ARGV, 2 do
  if (redis.call('HGET', KEYS[2], ARGV[i]) or '') ~= ARGV[i + 1] then
    return 0
  end
end
redis.call('SREM', KEYS[1], KEYS[2])
if ARGV[1] == '-1' then
  redis.call('DEL', KEYS[2])
elseif ARGV[1] ~= '0' then
  redis.call('EXPIRE', KEYS[2], ARGV[1])
end
return 1
