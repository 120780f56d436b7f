-- Take one call from every limit, or from none, and count it.
--
-- KEYS[1]   the account's hash: versions, loads, calendar counters
-- KEYS[2]   the usage hash of this key, model and hour
-- KEYS[3]   the set of usage hashes that the worker has yet to copy
-- KEYS[4]   the catalogue's version in this partition
-- KEYS[5+]  one bucket for each smoothed limit, in the order of the limits
--
-- ARGV[1]   the format (of the library `struct`) of ARGV[2], in which everything is packed that stays the same for a key,
--           model and hour: one argument for Redis to parse, and numbers that are numbers
-- ARGV[3]   the client's address, which is kept beside the second of the last use
--
-- asked[1]   the hour (since 1970) that the caller believes it is
-- asked[2]   'take', 'peek' (take nothing), or the word of the rule that refused: confirm the versions, count a refusal
-- asked[3-5] the versions behind the caller's decision, as text: catalogue, account, key
-- asked[6-7] the fields for the second of the last use and for its address, of this secret
-- asked[8]   what the call costs in units
-- asked[9]   the place of the last of the fields that follow, which are the account's hash's:
-- asked[10+] version, the key's version; then for each calendar limit the amount taken and its window
-- then for each limit: kind, whether it is in shadow (1 or 0), cost, amount, its name in usage, and
--   kind 'g' (smoothed): window in microseconds, burst
--   kind 'c' (calendar): window's number, its first microsecond, its end in seconds, the microsecond the limit came into
--                        force if that is later, else 0; the fields of the load of its subject's counters, and of the
--                        start of the limit that its counter was loaded for
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
-- Integers only: Redis truncates the numbers that a script returns, and Lua's numbers are doubles, exact up to 2^53.
--
-- A bucket's debt is what was used and has not drained yet: calls (or units) times the window in microseconds. Each
-- microsecond drains `amount` of it, so no rate is ever rounded, and past use means the same under any amount and burst.
-- A billion an hour exceeds 2^53 that way, so a debt is computed as whole units and the rest of one, which is less than
-- the window. No intermediate product below exceeds 2^52.
--
-- A bucket holds five doubles: the microsecond at which it was written, the amount and burst then in force, the debt, and
-- how much of the debt is forgiven. Where the debt is no exact double, four more follow: the units and rest of both.
--
-- After a change, debt above the new burst is forgiven, so that nobody waits for more than one burst, but only while this
-- limit is in force: under the next one all of the debt counts again. So the debt never exceeds the greatest burst, and
-- across changes no more passes than the greatest burst plus what has drained. Until the first call after a change, the
-- debt drains at the old amount.
--
-- A bucket from which nothing is taken is only written to carry over a change, or a clock that was set back. Otherwise
-- the debt would not drain as the reply promises, and the wait would never come true.

local call, floor, ceil, format = redis.call, math.floor, math.ceil, string.format
local pack, unpacked = struct.pack, struct.unpack
local EXACT = 4503599627370496  -- 2^52: below it, quotients are rounded to the right side of every integer, too

-- How long a debt takes to drain, in times of `unit` microseconds, rounded up.
local function drains_in(units, rest, window, amount, unit)
  local whole = units * (window / unit) + floor(rest / unit)
  return rest % unit > 0 and floor(whole / amount) + 1 or ceil(whole / amount)
end

-- How much drains in that many microseconds: units, and the rest of one.
local function drained(elapsed, amount, window)
  local product = elapsed * amount
  if product < EXACT then return floor(product / window), product % window end
  local high, low = floor(amount / 32768), amount % 32768
  local windows, left = floor(elapsed / window), elapsed % window
  local upper = left * high
  local lower = upper % window * 32768 + left * low
  return windows * amount + floor(upper / window) * 32768 + floor(lower / window), lower % window
end

-- A debt less a part of it, both in units and rest; not below zero.
local function less(units, rest, window, by_units, by_rest)
  units, rest = units - by_units, rest - by_rest
  if rest < 0 then units, rest = units - 1, rest + window end
  if units < 0 then return 0, 0 end
  return units, rest
end

-- Add a bucket to those that are to be written: its name, its value, and its life in milliseconds.
local function keep(buckets, name, now, amount, burst, window, units, rest, free, free_rest)
  local debt = units * window + rest
  local value = pack('<ddddd', now, amount, burst, debt, free * window + free_rest)
  if debt >= EXACT then value = value .. pack('<dddd', units, rest, free, free_rest) end
  local n = #buckets
  buckets[n + 1], buckets[n + 2] = name, value
  buckets[n + 3] = format('%.0f', drains_in(units, rest, window, amount, 1000) + 1000)  -- a second after it has drained
end

local function write(buckets)
  for i = 1, #buckets, 3 do
    call('SET', buckets[i], buckets[i + 1], 'PX', buckets[i + 2])
  end
end

local asked = {unpacked(ARGV[1], ARGV[2])}  -- the last element is the position behind the string
local clock = call('TIME')
local seconds = tonumber(clock[1])
local now = seconds * 1000000 + clock[2]
if floor(seconds / 3600) ~= asked[1] then
  return {-2, now}
end

local mode, last_field = asked[2], asked[9]
local fields = call('HMGET', KEYS[1], unpack(asked, 10, last_field))
local stored = call('MGET', unpack(KEYS, 4))
if stored[1] ~= asked[3] or fields[1] ~= asked[4] or fields[2] ~= asked[5] then
  return {-1, tonumber(stored[1] or 0), tonumber(fields[1] or 0), tonumber(fields[2] or 0)}
end

local taken, kept, violated = {1}, {0}, {}  -- the reply if the call is taken, and if it is not
local spent, carried = {}, {}               -- buckets to write if it is, and if it is not: name, value, milliseconds
local counters = {}                         -- calendar counters to write if it is
local wait, longest = 0, ''                 -- seconds, and the name of the limit that one has to wait for
local shadow_refused                        -- names of limits; nil while there are none
local next_bucket, next_counter, shown = 2, 3, 0

local i = last_field + 1
while i < #asked do
  local in_shadow, cost, amount, name = asked[i + 1] == 1, asked[i + 2], asked[i + 3], asked[i + 4]
  local left, whole, left_after, whole_after
  local short  -- seconds until the call would fit; nil if it fits now

  if asked[i] == 'g' then
    local window, burst, bucket = asked[i + 5], asked[i + 6], KEYS[next_bucket + 3]
    local units, rest, free, free_rest, must_write = 0, 0, 0, 0, false
    local value = stored[next_bucket]
    if value then
      local at, old_amount, old_burst, debt, forgiven = unpacked('<ddddd', value)
      must_write = now < at
      if #value == 40 then
        if not must_write then debt = debt - (now - at) * old_amount end
        if debt > 0 then units, rest = floor(debt / window), debt % window end
        if forgiven > 0 then free, free_rest = floor(forgiven / window), forgiven % window end
      else
        units, rest, free, free_rest = unpacked('<dddd', value, 41)
        if not must_write then units, rest = less(units, rest, window, drained(now - at, old_amount, window)) end
      end
      if old_amount ~= amount or old_burst ~= burst then
        free, free_rest = less(units, rest, window, burst, 0)
        must_write = units > 0 or rest > 0
      elseif free > units or free == units and free_rest > rest then
        free, free_rest = units, rest
      end
    end
    local owed, owed_rest = less(units, rest, window, free, free_rest)
    left, whole = burst - owed - (owed_rest > 0 and 1 or 0), drains_in(owed, owed_rest, window, amount, 1000000)
    left_after, whole_after = left - cost, drains_in(owed + cost, owed_rest, window, amount, 1000000)
    if must_write then
      keep(carried, bucket, now, amount, burst, window, units, rest, free, free_rest)
    end
    if left_after >= 0 then
      keep(spent, bucket, now, amount, burst, window, units + cost, rest, free, free_rest)
    else
      short = drains_in(owed + cost - burst, owed_rest, window, amount, 1000000)
      if must_write then keep(spent, bucket, now, amount, burst, window, units, rest, free, free_rest) end
    end
    next_bucket, i = next_bucket + 1, i + 7
  else
    local this, begins, ends, since = asked[i + 5], asked[i + 6], asked[i + 7], asked[i + 8]
    local window, used = tonumber(fields[next_counter + 1] or -1), 0
    if since > 0 and (window < this or tonumber(call('HGET', KEYS[1], asked[i + 10]) or 0) < since) then
      return {-3}  -- the limit came, or came back, in this window: only the ledger knows what passed before it
    elseif window > this and (window > this + 1 or ends - seconds > 3600) then
      return {-3}  -- the clock was set back by more than an hour: only the ledger knows what was used in this window
    elseif window >= this then
      used = tonumber(fields[next_counter])
    else
      -- No counter yet: if all of this window was counted here, nothing has been taken in it.
      local loaded = call('HGET', KEYS[1], asked[i + 9])
      if not loaded or tonumber(loaded) > begins then
        return {-3}
      end
    end
    if window > this then  -- a clock that fell back over midnight goes on counting in the next day or month
      local days = 1
      if ends - begins / 1000000 > 86400 then
        local year, month = floor(window / 12), window % 12 + 1  -- months are counted from the year 0
        days = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[month]
        if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then days = 29 end
      end
      ends = ends + days * 86400
    end
    left, left_after, whole, whole_after = math.max(amount - used, 0), amount - used - cost, ends - seconds, ends - seconds
    if left_after < 0 then short = ceil((ends * 1000000 - now) / 1000000) end
    if left_after >= 0 or in_shadow then  -- in shadow everything that passes counts, as it does in usage
      local field, n = next_counter + 9, #counters  -- fields[n] was asked for by asked[n + 9]
      counters[n + 1], counters[n + 2] = asked[field], format('%.0f', used + cost)
      if window < this then counters[n + 3], counters[n + 4] = asked[field + 1], format('%.0f', this) end
    end
    next_counter, i = next_counter + 2, i + 11
  end

  if in_shadow then  -- it never refuses and is in no header
    if short then
      shadow_refused = shadow_refused or {}
      shadow_refused[#shadow_refused + 1] = name
    end
  else
    shown = shown + 1
    taken[2 * shown], taken[2 * shown + 1] = left_after, whole_after
    kept[2 * shown], kept[2 * shown + 1] = left, whole
    if short then
      violated[#violated + 1] = shown - 1
      if short > wait then wait, longest = short, name end
    end
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
  write(carried)
  return kept
end

-- Usage comes first: if a write fails half-way, more was counted than admitted, never less.
local usage = KEYS[2]
if call('HINCRBY', usage, granted and 'a' or 'r', 1) == 1
  and call('HSETNX', usage, 'b', format('%.0f', now)) == 1 then
  call('EXPIRE', usage, 3456000)  -- 40 days, for a worker that is away; shortened once it is copied
end
call('SADD', KEYS[3], usage)
if not granted then
  call('HINCRBY', usage, mode == 'take' and 'l:' .. longest or 'r:' .. mode, 1)
  write(carried)
  return kept
end

local units = asked[8]
if units > 1 then call('HINCRBY', usage, 'x', units - 1) end  -- units beyond one a call
if shadow_refused then
  taken[1] = 2
  call('HINCRBY', usage, 's', 1)
  for _, name in ipairs(shadow_refused) do call('HINCRBY', usage, 's:' .. name, 1) end
end
-- The address carries its second: a gate of the version before only writes the other field.
call('HSET', usage, asked[6], clock[1], asked[7], clock[1] .. ' ' .. ARGV[3])
if #counters > 0 then call('HSET', KEYS[1], unpack(counters)) end
write(spent)
return taken
