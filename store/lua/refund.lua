-- Give back one call that was taken from a throttle.
--
-- KEYS[1]  the microsecond at which it is empty again
-- ARGV[1]  microseconds that one call counts for
--
-- returns 1 if there was something to give back, else 0

if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
redis.call('DECRBY', KEYS[1], ARGV[1])
return 1
