-- Take one call from every limit, or from none, and count it.
--
-- KEYS[1]   the account's hash: versions, loads, calendar counters
-- KEYS[2]   the usage hash of this key, model and hour
-- KEYS[3]   the set of usage hashes that the worker has yet to copy
-- KEYS[4]   the catalogue's version in this partition
-- KEYS[5+]  one bucket for each smoothed limit, in the order of the limits: five doubles. The microsecond at which it
--           was written, the amount and burst then in force, the debt, and how much of the debt is forgiven
--
-- ARGV[1]   the hour (since 1970) that the caller believes it is
-- ARGV[2]   'take', 'peek' (take nothing), or the word of the rule that refused: confirm the versions, count a refusal
-- ARGV[3-5] the versions behind the caller's decision: catalogue, account, key
-- ARGV[6]   the field for the second of the last use, one for each secret
-- ARGV[7]   what the call costs in units
-- ARGV[8]   F, then F fields of the account's hash: version, the key's version, load, the key's load,
--           then for each calendar limit the amount taken, its window, and the start of the limit it was loaded for
-- then eight for each limit: kind, shadow, cost, amount and
--   kind 'g' (smoothed):                  window in microseconds, burst, 0, 0
--   kind 'a' or 'k' (account's or key's): window's number, its first microsecond, its end in seconds, and
--                                         the microsecond the limit came into force if that is later, else 0
-- and last the client's address, which is kept beside the second of the last use
--
-- returns {1, left, whole, left, whole, ...}           taken; one pair for each limit that is not in shadow:
--                                                      what is left, and seconds until it is whole again
--         {2, left, whole, ...}                        taken, and a limit in shadow would have refused it
--         {0, left, whole, ..., wait, i, ...}          refused: seconds to wait, positions of the limits that refused
--         {-1, catalogue, account, key}                STALE: other versions are in force
--         {-2, now}                                    HOUR: a different hour; microseconds since 1970
--         {-3}                                         UNLOADED: a calendar counter must first be loaded from the ledger
--
-- Each refused call is counted under one reason: `r:` and the rule's word, or `l:` and the limit that one has to wait for
-- longest. A call that passes is counted for every limit in shadow that would have refused it: `s:` and the limit. A limit
-- is named by what its counter is named by (scope:model:unit:window), so there are only so many fields.
--
-- Integers only, all below 2^53: Redis truncates the numbers that a script returns, and Lua's numbers are doubles.
--
-- A bucket's debt is what was used and has not drained yet: calls (or units) times the window in microseconds. Each
-- microsecond drains `amount` of it, so no rate is ever rounded, and past use means the same under any amount and burst.
--
-- After a change, debt above the new burst is forgiven, so that nobody waits for more than one burst, but only while this
-- limit is in force: under the next one all of the debt counts again. So the debt never exceeds the greatest burst, and
-- across changes no more passes than the greatest burst plus what has drained. Until the first call after a change, the
-- debt drains at the old amount.
--
-- A bucket from which nothing is taken is only written to carry over a change, or a clock that was set back. Otherwise
-- the debt would not drain as the reply promises, and the wait would never come true.

local function write(buckets, now)
  for _, bucket in ipairs(buckets) do
    local name, amount, burst, debt, forgiven = unpack(bucket)
    local value = struct.pack('<ddddd', now, amount, burst, debt, forgiven)
    redis.call('SET', name, value, 'PX', math.ceil(debt / (amount * 1000)) + 1000)  -- a second after it has drained
  end
end

-- The end of the next day or month, for a clock that fell back over midnight and goes on counting in the next window.
local function end_of_the_next(this, begins, ends)
  if ends - begins == 86400 then return ends + 86400 end
  local year, month = math.floor((this + 1) / 12), (this + 1) % 12 + 1  -- months are counted from the year 0
  local days = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[month]
  if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then days = 29 end
  return ends + days * 86400
end

-- The limit's name in usage, from that of its bucket or of its counter's field.
local function named(kind, counter)
  if kind == 'g' then
    local subject, rest = string.match(counter, ':g:(%w+):([^:]+:%a+:%a+)$')
    return (#subject == 8 and 'account:' or 'key:') .. rest
  end
  return (kind == 'a' and 'account:' or 'key:') .. string.match(counter, '^n:%w+:(.+)$')
end

local clock = redis.call('TIME')
local seconds = tonumber(clock[1])
local now = seconds * 1000000 + tonumber(clock[2])
if math.floor(seconds / 3600) ~= tonumber(ARGV[1]) then
  return {-2, now}
end

local mode = ARGV[2]
local last_field = 8 + tonumber(ARGV[8])
local fields = redis.call('HMGET', KEYS[1], unpack(ARGV, 9, last_field))
local stored = redis.call('MGET', unpack(KEYS, 4))
if stored[1] ~= ARGV[3] or fields[1] ~= ARGV[4] or fields[2] ~= ARGV[5] then
  return {-1, tonumber(stored[1] or 0), tonumber(fields[1] or 0), tonumber(fields[2] or 0)}
end

local taken, kept, violated = {1}, {0}, {}  -- the reply if the call is taken, and if it is not
local spent, carried = {}, {}               -- buckets to write if it is, and if it is not: name, value, milliseconds
local counters = {}                         -- calendar counters to write if it is
local wait, longest = 0, ''                 -- seconds, and the name of the limit that one has to wait for
local shadow_refused                        -- names of limits; nil while there are none
local next_bucket, next_counter, number = 2, 5, 0

for i = last_field + 1, #ARGV - 1, 8 do
  local kind, cost, amount = ARGV[i], tonumber(ARGV[i + 2]), tonumber(ARGV[i + 3])
  local left, whole, left_after, whole_after
  local short    -- microseconds until the call would fit; nil if it fits now
  local counter  -- the name of what counts for this limit

  if kind == 'g' then
    local window, burst = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 5])
    local full, price = burst * window, cost * window
    local debt, forgiven, must_write = 0, 0, false
    counter = KEYS[next_bucket + 3]
    local value = stored[next_bucket]
    if value then
      local at, old_amount, old_burst
      at, old_amount, old_burst, debt, forgiven = struct.unpack('<ddddd', value)
      if now < at then
        must_write = true
      else
        debt = math.max(debt - (now - at) * old_amount, 0)
      end
      if old_amount ~= amount or old_burst ~= burst then
        forgiven, must_write = math.max(debt - full, 0), debt > 0
      else
        forgiven = math.min(forgiven, debt)
      end
    end
    local owed = debt - forgiven
    local after = owed + price
    left, whole = math.floor((full - owed) / window), math.ceil(owed / (amount * 1000000))
    left_after, whole_after = math.floor((full - after) / window), math.ceil(after / (amount * 1000000))
    if must_write then
      carried[#carried + 1] = {counter, amount, burst, debt, forgiven}
    end
    if after <= full then
      spent[#spent + 1] = {counter, amount, burst, debt + price, forgiven}
    else
      short = math.ceil((after - full) / amount)
      if must_write then spent[#spent + 1] = carried[#carried] end
    end
    next_bucket = next_bucket + 1
  else
    local this, ends = tonumber(ARGV[i + 4]), tonumber(ARGV[i + 6])
    local window, used = tonumber(fields[next_counter + 1] or -1), 0
    if ARGV[i + 7] ~= '0' and (window < this or tonumber(fields[next_counter + 2] or 0) < tonumber(ARGV[i + 7])) then
      return {-3}  -- the limit came, or came back, in this window: only the ledger knows what passed before it
    elseif window > this and (window > this + 1 or ends - seconds > 3600) then
      return {-3}  -- the clock was set back by more than an hour: only the ledger knows what was used in this window
    elseif window >= this then
      used = tonumber(fields[next_counter])
      if window > this then ends = end_of_the_next(this, tonumber(ARGV[i + 5]) / 1000000, ends) end
    else
      -- No counter yet: if all of this window was counted here, nothing has been taken in it.
      local loaded = fields[kind == 'a' and 3 or 4]
      if not loaded or tonumber(loaded) > tonumber(ARGV[i + 5]) then
        return {-3}
      end
      window = this
    end
    left, left_after, whole, whole_after = math.max(amount - used, 0), amount - used - cost, ends - seconds, ends - seconds
    if left_after < 0 then short = ends * 1000000 - now end
    local name = next_counter + 8  -- fields[n] was asked for by ARGV[n + 8]
    counter = ARGV[name]
    if left_after >= 0 or ARGV[i + 1] == '1' then  -- in shadow everything that passes counts, as it does in usage
      counters[#counters + 1] = counter
      counters[#counters + 1] = string.format('%.0f', used + cost)
      counters[#counters + 1] = ARGV[name + 1]
      counters[#counters + 1] = string.format('%.0f', window)
    end
    next_counter = next_counter + 3
  end

  if ARGV[i + 1] == '1' then  -- in shadow: it never refuses and is in no header
    if short then
      shadow_refused = shadow_refused or {}
      shadow_refused[#shadow_refused + 1] = named(kind, counter)
    end
  else
    taken[#taken + 1], taken[#taken + 2] = left_after, whole_after
    kept[#kept + 1], kept[#kept + 2] = left, whole
    if short then
      violated[#violated + 1] = number
      local until_it_fits = math.ceil(short / 1000000)
      if until_it_fits > wait then wait, longest = until_it_fits, named(kind, counter) end
    end
    number = number + 1
  end
end

local granted = mode == 'take' and #violated == 0
if #violated > 0 then
  kept[#kept + 1] = wait
  for _, which in ipairs(violated) do kept[#kept + 1] = which end
elseif mode == 'peek' then
  kept[1] = 1
end
if mode == 'peek' then
  write(carried, now)
  return kept
end

-- Usage comes first: if a write fails half-way, more was counted than admitted, never less.
local usage = KEYS[2]
if redis.call('HINCRBY', usage, granted and 'a' or 'r', 1) == 1
  and redis.call('HSETNX', usage, 'b', string.format('%.0f', now)) == 1 then
  redis.call('EXPIRE', usage, 3456000)  -- 40 days, for a worker that is away; shortened once it is copied
end
redis.call('SADD', KEYS[3], usage)
if not granted then
  redis.call('HINCRBY', usage, mode == 'take' and 'l:' .. longest or 'r:' .. mode, 1)
  write(carried, now)
  return kept
end

local units = tonumber(ARGV[7])
if units > 1 then redis.call('HINCRBY', usage, 'x', units - 1) end  -- units beyond one a call
if shadow_refused then
  redis.call('HINCRBY', usage, 's', 1)
  for _, name in ipairs(shadow_refused) do redis.call('HINCRBY', usage, 's:' .. name, 1) end
  taken[1] = 2
end
-- The address carries its second: a gate of the version before only writes the other field.
redis.call('HSET', usage, ARGV[6], clock[1], 'f' .. string.sub(ARGV[6], 2), clock[1] .. ' ' .. ARGV[#ARGV])
if #counters > 0 then redis.call('HSET', KEYS[1], unpack(counters)) end
write(spent, now)
return taken
