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
-- asked[1]   the first second of the hour that the caller believes it is
-- asked[2]   'take', 'peek' (take nothing), or the word of the rule that refused: confirm the versions, count a refusal
-- asked[3-5] the versions behind the caller's decision, as text: catalogue, account, key
-- asked[6-7] the fields for the second of the last use and for its address, of this secret
-- asked[8]   what the call costs in units
-- asked[9]   the place of the last of the fields that follow, which are the account's hash's:
-- asked[10+] version, the key's version; then for each calendar limit the amount taken and its window
-- then for each limit: whether it is smoothed and whether it is in shadow (1 or 0), cost, amount, its name in usage, and
--   a smoothed one: window in microseconds, burst
--   a calendar one: window's number, its first microsecond, its end in seconds, the microsecond the limit came into force
--                   if that is later, else 0; and in one text, since both are rarely needed, the fields of the load of its
--                   subject's counters, and of the start of the limit that its counter was loaded for
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
-- A billion an hour exceeds 2^53 that way, so where a burst does, or its limit or the clock has changed, a debt is computed
-- as whole units and the rest of one, which is less than the window. No intermediate product below exceeds 2^52.
--
-- A bucket holds five doubles: the microsecond at which it was written, the amount and burst then in force, the debt, and
-- how much of the debt is forgiven. Where the debt is no exact double, four more follow: the units and rest of both.
--
-- A bucket expires a second or more after its debt has drained. Setting an expiry is expensive, so a debt that drains within
-- a minute gets 121 seconds from the first call in each minute of the clock, and a half is added to the burst to record this:
-- for the rest of that minute, the expiry suffices for any such debt. Gates of the version before take the half for a change
-- of the limit, which forgives nothing while the debt is within the burst. They write whole bursts and set their own expiry.
--
-- After a change, debt above the new burst is forgiven, so that nobody waits for more than one burst, but only while this
-- limit is in force: under the next one all of the debt counts again. So the debt never exceeds the greatest burst, and
-- across changes no more passes than the greatest burst plus what has drained. Until the first call after a change, the
-- debt drains at the old amount.
--
-- A bucket from which nothing is taken is only written to carry over a change, or a clock that was set back. Otherwise
-- the debt would not drain as the reply promises, and the wait would never come true.

local call, unpacked = redis.call, struct.unpack
local EXACT = 4503599627370496  -- 2^52: below it, quotients are rounded to the right side of every integer, too
local MINUTE, STANDS = 60000000, 'KEEPTTL'

-- What a bucket comes to in whole units and rests, whatever has changed since it was written. Returns left, whole, both
-- after the call, seconds until the call would fit (nil if it does now), and two values to write, each with its life in
-- milliseconds (nil if it stays as it is): if the call is taken, and if it is not.
--
-- It uses nothing from outside but its arguments: each run makes this function anew, with everything that it captures.
local function computed_exactly(value, now, amount, burst, window, cost)
  local floor, ceil, pack, EXACT = math.floor, math.ceil, struct.pack, 4503599627370496

  -- How long a debt takes to drain, in times of `unit` microseconds, rounded up.
  local function drains_in(units, rest, unit)
    local whole = units * (window / unit) + floor(rest / unit)
    return rest % unit > 0 and floor(whole / amount) + 1 or ceil(whole / amount)
  end

  -- How much drains in that many microseconds at that amount: units, and the rest of one.
  local function drained(elapsed, amount)
    local product = elapsed * amount
    if product < EXACT then return floor(product / window), product % window end
    local high, low = floor(amount / 32768), amount % 32768
    local windows, left = floor(elapsed / window), elapsed % window
    local upper = left * high
    local lower = upper % window * 32768 + left * low
    return windows * amount + floor(upper / window) * 32768 + floor(lower / window), lower % window
  end

  -- A debt less a part of it, both in units and rest; not below zero.
  local function less(units, rest, by_units, by_rest)
    units, rest = units - by_units, rest - by_rest
    if rest < 0 then units, rest = units - 1, rest + window end
    if units < 0 then return 0, 0 end
    return units, rest
  end

  local units, rest, free, free_rest, must_write = 0, 0, 0, 0, false
  if value then
    local at, old_amount, old_burst, debt, forgiven = struct.unpack('<ddddd', value)
    must_write = now < at
    if #value == 40 then
      if not must_write then debt = debt - (now - at) * old_amount end
      if debt > 0 then units, rest = floor(debt / window), debt % window end
      if forgiven > 0 then free, free_rest = floor(forgiven / window), forgiven % window end
    else
      units, rest, free, free_rest = struct.unpack('<dddd', value, 41)
      if not must_write then units, rest = less(units, rest, drained(now - at, old_amount)) end
    end
    if old_amount ~= amount or floor(old_burst) ~= burst then
      free, free_rest = less(units, rest, burst, 0)
      must_write = units > 0 or rest > 0
    elseif free > units or free == units and free_rest > rest then
      free, free_rest = units, rest
    end
  end

  local function written(units)
    local debt = units * window + rest
    local value = pack('<ddddd', now, amount, burst, debt, free * window + free_rest)
    if debt >= EXACT then value = value .. pack('<dddd', units, rest, free, free_rest) end
    return value, string.format('%.0f', drains_in(units, rest, 1000) + 1000)  -- a second after it has drained
  end

  local owed, owed_rest = less(units, rest, free, free_rest)
  local left, whole = burst - owed - (owed_rest > 0 and 1 or 0), drains_in(owed, owed_rest, 1000000)
  local whole_after = drains_in(owed + cost, owed_rest, 1000000)
  local carried, carried_life
  if must_write then carried, carried_life = written(units) end
  if left >= cost then
    local spent, life = written(units + cost)
    return left, whole, left - cost, whole_after, nil, spent, life, carried, carried_life
  end
  local short = drains_in(owed + cost - burst, owed_rest, 1000000)
  return left, whole, left - cost, whole_after, short, carried, carried_life, carried, carried_life
end

local keys = KEYS
local asked = {unpacked(ARGV[1], ARGV[2])}  -- the last element is the position behind the string
local clock = call('TIME')
local seconds = clock[1] + 0  -- an addition turns text into a number, for less than tonumber()
local now = seconds * 1000000 + clock[2]
if seconds - seconds % 3600 ~= asked[1] then
  return {-2, now}
end

local mode, last_field = asked[2], asked[9]
local fields = call('HMGET', keys[1], unpack(asked, 10, last_field))
local stored = call('MGET', unpack(keys, 4))
if stored[1] ~= asked[3] or fields[1] ~= asked[4] or fields[2] ~= asked[5] then
  return {-1, tonumber(stored[1] or 0), tonumber(fields[1] or 0), tonumber(fields[2] or 0)}
end

-- Tables are made with room for what usually goes into them, because growing one is expensive.
local taken = {1, nil, nil, nil, nil, nil, nil, nil, nil}  -- the reply if the call is taken
local kept = {0, nil, nil, nil, nil, nil, nil, nil, nil}   -- and if it is not
local lives = {nil, nil, nil, nil}  -- in milliseconds, of the buckets to write if it is taken; `stored` then has their values
local carried                       -- buckets to write if it is not: name, value, milliseconds
local counters                      -- calendar counters to write if it is: field, value
local violated, shadow_refused      -- positions of limits, and names of limits
local wait, longest = 0, ''         -- seconds, and the name of the limit that one has to wait for
local next_bucket, next_counter, shown = 2, 3, 1

local minute = now - now % MINUTE
local i, behind = last_field + 1, #asked
while i < behind do
  local in_shadow, cost, amount, name = asked[i + 1] == 1, asked[i + 2], asked[i + 3], asked[i + 4]
  local left, whole, left_after, whole_after
  local short  -- seconds until the call would fit; nil if it fits now

  if asked[i] == 1 then
    local window, burst, value = asked[i + 5], asked[i + 6], stored[next_bucket]
    local room, debt, is_as_it_was, stands = burst * window, 0, true, false
    if value then
      local at, old_amount, old_burst, old_debt, forgiven = unpacked('<ddddd', value)
      local has_half = old_burst == burst + 0.5
      is_as_it_was = (has_half or old_burst == burst) and old_amount == amount and at <= now and forgiven == 0
        and old_debt < EXACT
      stands = has_half and at >= minute
      debt = old_debt - (now - at) * amount
      if debt < 0 then debt = 0 end
    end
    local after = debt + cost * window
    if is_as_it_was and room < EXACT and after < EXACT then
      local pace, free = amount * 1000000, room - debt  -- pace: what drains in a second
      left, whole = (free - free % window) / window, (debt + -debt % pace) / pace
      left_after, whole_after = left - cost, (after + -after % pace) / pace
      if after > room then
        short = (after - room + (room - after) % pace) / pace
      elseif whole_after <= 60 then
        stored[next_bucket] = struct.pack('<ddddd', now, amount, burst + 0.5, after, 0)
        lives[next_bucket] = stands and STANDS or '121000'
      else
        stored[next_bucket] = struct.pack('<ddddd', now, amount, burst, after, 0)
        lives[next_bucket] = string.format('%.0f', whole_after * 1000 + 1000)
      end
    else
      local unspent, its_life
      left, whole, left_after, whole_after, short, stored[next_bucket], lives[next_bucket], unspent, its_life =
        computed_exactly(value, now, amount, burst, window, cost)
      if unspent then
        carried = carried or {}
        local n = #carried
        carried[n + 1], carried[n + 2], carried[n + 3] = keys[next_bucket + 3], unspent, its_life
      end
    end
    next_bucket, i = next_bucket + 1, i + 7
  else
    local this, begins, ends, since = asked[i + 5], asked[i + 6], asked[i + 7], asked[i + 8]
    local window, used = (fields[next_counter + 1] or -1) + 0, 0
    if since > 0
      and (window < this or tonumber(call('HGET', keys[1], string.match(asked[i + 9], ' (.*)')) or 0) < since) then
      return {-3}  -- the limit came, or came back, in this window: only the ledger knows what passed before it
    elseif window > this and (window > this + 1 or ends - seconds > 3600) then
      return {-3}  -- the clock was set back by more than an hour: only the ledger knows what was used in this window
    elseif window >= this then
      used = fields[next_counter] + 0
    else
      -- No counter yet: if all of this window was counted here, nothing has been taken in it. A key that had no counters
      -- when it was published has no load of its own. Its account's is as good: they share this hash, whole or lost.
      local loaded = call('HGET', keys[1], string.match(asked[i + 9], '%S+')) or call('HGET', keys[1], 'l')
      if not loaded or tonumber(loaded) > begins then
        return {-3}
      end
    end
    if window > this then  -- a clock that fell back over midnight goes on counting in the next day or month
      local days = 1
      if ends - begins / 1000000 > 86400 then
        local year, month = math.floor(window / 12), window % 12 + 1  -- months are counted from the year 0
        days = ({31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31})[month]
        if month == 2 and year % 4 == 0 and (year % 100 ~= 0 or year % 400 == 0) then days = 29 end
      end
      ends = ends + days * 86400
    end
    left, whole = amount - used, ends - seconds
    left_after, whole_after = left - cost, whole
    if left < 0 then left = 0 end
    if left_after < 0 then short = math.ceil((ends * 1000000 - now) / 1000000) end
    if left_after >= 0 or in_shadow then  -- in shadow everything that passes counts, as it does in usage
      counters = counters or {nil, nil, nil, nil}
      local field, n = next_counter + 9, #counters  -- fields[n] was asked for by asked[n + 9]
      counters[n + 1], counters[n + 2] = asked[field], string.format('%.0f', used + cost)
      if window < this then counters[n + 3], counters[n + 4] = asked[field + 1], string.format('%.0f', this) end
    end
    next_counter, i = next_counter + 2, i + 10
  end

  if in_shadow then  -- it never refuses and is in no header
    if short then
      shadow_refused = shadow_refused or {}
      shadow_refused[#shadow_refused + 1] = name
    end
  else
    taken[shown + 1], taken[shown + 2] = left_after, whole_after
    kept[shown + 1], kept[shown + 2] = left, whole
    if short then
      violated = violated or {}
      violated[#violated + 1] = (shown - 1) / 2
      if short > wait then wait, longest = short, name end
    end
    shown = shown + 2
  end
end

local takes, usage = mode == 'take' and not violated, keys[2]

-- Usage comes first: if a write fails half-way, more was counted than admitted, never less.
if mode ~= 'peek' then
  if call('HINCRBY', usage, takes and 'a' or 'r', '1') == 1
    and call('HSETNX', usage, 'b', string.format('%.0f', now)) == 1 then
    call('EXPIRE', usage, '3456000')  -- 40 days, for a worker that is away; shortened once it is copied
  end
  call('SADD', keys[3], usage)
end

if not takes then
  if mode ~= 'peek' then
    call('HINCRBY', usage, mode == 'take' and 'l:' .. longest or 'r:' .. mode, '1')
  elseif not violated then
    kept[1] = 1
  end
  if violated then
    kept[shown + 1] = wait
    for n, which in ipairs(violated) do kept[shown + 1 + n] = which end
  end
  if carried then
    for n = 1, #carried, 3 do call('SET', carried[n], carried[n + 1], 'PX', carried[n + 2]) end
  end
  return kept
end

local units = asked[8]
if units > 1 then call('HINCRBY', usage, 'x', units - 1) end  -- units beyond one a call
if shadow_refused then
  taken[1] = 2
  call('HINCRBY', usage, 's', '1')
  for _, name in ipairs(shadow_refused) do call('HINCRBY', usage, 's:' .. name, '1') end
end
-- The address carries its second: a gate of the version before only writes the other field.
call('HSET', usage, asked[6], clock[1], asked[7], clock[1] .. ' ' .. ARGV[3])
if counters then call('HSET', keys[1], unpack(counters)) end
for bucket = 2, next_bucket - 1 do
  local life = lives[bucket]
  if life == STANDS then
    call('SET', keys[bucket + 3], stored[bucket], STANDS)
  elseif life then
    call('SET', keys[bucket + 3], stored[bucket], 'PX', life)
  end
end
return taken
