-- Note that a process runs, unless this Redis belongs to another deployment.
--
-- KEYS[1]  the reports: a hash with a field per process
-- KEYS[2]  whose Redis this is
-- ARGV[1]  the deployment's identity
-- ARGV[2]  the process
-- ARGV[3]  its report
-- ARGV[4]  seconds for which all reports are kept if no other follows
--
-- returns 1 if it was noted, else 0
--
-- The second is Redis's own, since the clocks of hosts differ.

if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[1], ARGV[2], redis.call('TIME')[1] .. ' ' .. ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[4])
return 1
