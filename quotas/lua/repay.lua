-- Count calls that passed while Redis was away, once.
--
-- KEYS[1]  the account's hash
-- KEYS[2]  the usage hash of the key, model and hour in which they passed
-- KEYS[3]  the set of changed usage hashes
-- KEYS[4]  records that this debt was counted
-- ARGV[1]  calls
-- ARGV[2]  units beyond one for each call
-- ARGV[3]  the field of the last use, ARGV[4] its second, ARGV[5] the address that it came from
-- then four for each calendar limit: its two fields (taken, window), the window's number, what to add
--
-- returns  1 if it was counted now, 0 if it already had been
--
-- Counters may exceed their amount, since the calls have passed. A counter that is missing or in a different window is
-- left to the ledger, which learns of these calls from the usage hash.

if not redis.call('SET', KEYS[4], 1, 'NX', 'EX', 86400) then
  return 0
end
local clock = redis.call('TIME')
redis.call('HINCRBY', KEYS[2], 'a', ARGV[1])
if redis.call('HSETNX', KEYS[2], 'b', clock[1] .. string.format('%06d', tonumber(clock[2]))) == 1 then
  redis.call('EXPIRE', KEYS[2], 3456000)
end
if ARGV[2] ~= '0' then redis.call('HINCRBY', KEYS[2], 'x', ARGV[2]) end
if tonumber(redis.call('HGET', KEYS[2], ARGV[3]) or 0) < tonumber(ARGV[4]) then
  redis.call('HSET', KEYS[2], ARGV[3], ARGV[4], 'f' .. string.sub(ARGV[3], 2), ARGV[4] .. ' ' .. ARGV[5])
end
redis.call('SADD', KEYS[3], KEYS[2])
for i = 6, #ARGV, 4 do
  if redis.call('HGET', KEYS[1], ARGV[i + 1]) == ARGV[i + 2] then
    redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 3])
  end
end
return 1
