-- What the store does for several gateways (Redis 7 or Valkey, FUNCTION). `@` becomes a digest of this text:
-- a gateway calls the very functions that it was built with, and gateways of two versions live side by side.
--
-- A pot is one quota of one account. Each node holds a part of it, and parts never come to more than the pot.
-- A node says what it surely holds (`have`), needs and would like; it is told what it holds from now on. Only
-- the server's clock is used, and what is written is replicated by its effects.

local SILENT_MS = 1500
local MOST = 2 ^ 53

local function now_us()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- A whole number from 0 to MOST, or nil.
local function number(text)
  if not text or #text > 16 or not string.find(text, '^%d+$') then return nil end
  local value = tonumber(text)
  if value > MOST then return nil end
  return value
end

-- Numbers with a space between them, so many, or nil.
local function numbers(text, count)
  local found = {}
  for part in string.gmatch(text, '[^ ]+') do
    local value = number(part)
    if not value then return nil end
    found[#found + 1] = value
  end
  if #found ~= count then return nil end
  return found
end

local function join(values)
  local parts = {}
  for place, value in ipairs(values) do parts[place] = string.format('%.0f', value) end
  return table.concat(parts, ' ')
end

local function tampered(key)
  redis.call('DEL', key)
  return redis.error_reply('TAMPERED what stood here is no count of Tidegate')
end

local function each(key, visit)
  local flat = redis.pcall('HGETALL', key)
  if flat.err then return false end
  for place = 1, #flat, 2 do
    if not visit(flat[place], flat[place + 1]) then return false end
  end
  return true
end

-- KEYS: the installation. ARGV: node, nodes, claimed, leaves. Claimed: since when the store remembered (ms) as the
-- node told it all that it holds; 0: it has not.
-- Answers: since when the store remembers, whether all nodes have claimed, the node's slot, how many are here.
local function member(keys, args)
  local key, node, nodes = keys[1], args[1], tonumber(args[2])
  local now = math.floor(now_us() / 1000)
  if args[4] == '1' then
    redis.call('HDEL', key, node)
    return {0, 0, 0, 0}
  end
  local since, taken, claims, present, own, last = nil, {}, {}, 0, nil, nil
  local sound = each(key, function(name, text)
    if name == 'since' then
      since = number(text)
      return since ~= nil and since <= now + 1000
    end
    local one = numbers(text, 3)
    if not one then return false end
    if name == node then
      own = one[1]
    else
      local silent = now - one[3] > SILENT_MS
      if silent and (not last or one[3] < last.at) then last = {name = name, at = one[3], slot = one[1]} end
      taken[one[1]] = true
      claims[#claims + 1] = one[2]
      if not silent then present = present + 1 end
    end
    return true
  end)
  if not sound then return tampered(key) end
  if not since then
    since = now
    redis.call('HSET', key, 'since', join({since}))
  end
  if own == nil or own >= nodes then
    own = 0
    while taken[own] do own = own + 1 end
    -- More than there may be: one that is not heard of is no more.
    if own >= nodes and last then
      redis.call('HDEL', key, last.name)
      own = last.slot
    end
  end
  redis.call('HSET', key, node, join({own, tonumber(args[3]), now}))
  claims[#claims + 1] = tonumber(args[3])
  local settled = 0
  for _, claimed in ipairs(claims) do
    if claimed == since then settled = settled + 1 end
  end
  return {since, settled >= nodes and 1 or 0, own, present + 1}
end

-- KEYS: the pot. ARGV: node, run (which of the node's processes), sequence, slot, nodes, since, settled, quota,
-- window (ms), interval (us for one unit; 0: units come back when their node gives them back), keeps (1: what a
-- node says of itself outlives its process), have, need, want, spent, refunded, leaves, known (1: it was told
-- of before, since the store remembers).
-- Answers: open, held, what each may hold where others lack (-1: none lack), slack, held by others.
local function share(keys, args)
  local key, node = keys[1], args[1]
  local run, sequence, slot = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  local nodes, since, settled = tonumber(args[5]), tonumber(args[6]), args[7] == '1'
  local quota, window, interval = tonumber(args[8]), tonumber(args[9]), tonumber(args[10])
  local keeps, have, need, want = args[11] == '1', tonumber(args[12]), tonumber(args[13]), tonumber(args[14])
  local spent, refunded, leaves = tonumber(args[15]), tonumber(args[16]), args[17] == '1'
  local known = args[18] == '1'
  local us = now_us()
  local now = math.floor(us / 1000)
  local function portion(of)
    return math.floor(quota / nodes) + ((of < quota % nodes) and 1 or 0)
  end

  -- Level: what of a pot with a pace is not restored yet, in thousandths, and when that was so.
  local own, begun, shut, level, level_at
  local others, ghosts, missing, live, unmet = 0, 0, 0, 0, {}
  local sound = each(key, function(name, text)
    if name == 'begun' then
      local one = numbers(text, 3)
      if not one then return false end
      begun, level, level_at = one[1], one[2], one[3]
      return true
    end
    if name == 'shut' then
      shut = number(text)
      return shut ~= nil
    end
    if string.sub(name, 1, 1) == '-' then
      local ghost = numbers(text, 2)
      if not ghost then return false end
      if ghost[2] <= now then redis.call('HDEL', key, name) else ghosts = ghosts + ghost[1] end
      return true
    end
    local one = numbers(text, 8)
    if not one or one[4] > 2 * quota then return false end
    if name == node then
      own = one
      return true
    end
    local held = one[4]
    if now - one[6] > SILENT_MS then
      -- Whoever is not heard of goes by its share.
      missing = missing + 1
      held = math.max(held, portion(one[1]))
      if now - one[6] > SILENT_MS + window then held = portion(one[1]) end
      missing = math.min(missing, nodes - 1)
    else
      live = live + 1
      if one[5] > one[4] then unmet[#unmet + 1] = {held = one[4], need = one[5]} end
    end
    others = others + held
    return true
  end)
  -- Somebody took away what this node told.
  if known and not own and shut ~= since and (not begun or begun == since) then sound = false end
  if not sound then
    -- Nothing is given of it until the store has begun anew, and all have told what they hold.
    local said = tampered(key)
    redis.call('HSET', key, 'shut', join({since}))
    return said
  end
  if shut and shut ~= since then redis.call('HDEL', key, 'shut') end
  if begun and begun ~= since then
    -- The store has begun anew since: this pot is from before.
    if begun > since then return {-1, 0, 0, 0, 0} end
    redis.call('DEL', key)
    own, begun, others, ghosts, missing, live, unmet = nil, nil, 0, 0, 0, 0, {}
  end
  local open = shut ~= since and (settled or now > since + SILENT_MS + window)
  if not begun then
    begun, level, level_at = since, (open or interval == 0) and 0 or quota * 1000, us
  end
  if own and own[2] ~= run then
    -- Another process had the name; what it took may have been used until just now.
    if not keeps and own[4] > 0 then
      local ghost = numbers(redis.call('HGET', key, '-' .. node) or '0 0', 2) or {0, 0}
      ghosts = ghosts + own[4]
      redis.call('HSET', key, '-' .. node, join({ghost[1] + own[4], now + window}))
    end
    own = nil
  end
  if own and sequence <= own[3] then return {-1, 0, 0, 0, 0} end

  if interval > 0 then
    local slowed = interval * nodes / (nodes - missing)
    level = math.max(level - math.floor((us - level_at) / slowed * 1000), 0)
    level_at = us
    local paid, back = spent - (own and own[7] or 0), refunded - (own and own[8] or 0)
    if paid < 0 or back < 0 then paid, back = spent, refunded end
    -- What went while nobody was told has been restored in part; more than all of it cannot be owed.
    level = math.max(level + (math.min(paid, quota) - math.min(back, quota)) * 1000, 0)
  end
  local used = others + ghosts + math.ceil(level / 1000)
  local free = quota - used
  local fair = math.max(math.floor((quota - ghosts) / (live + 1)), 1)
  local lack = 0
  for _, one in ipairs(unmet) do
    if one.held < fair then lack = lack + math.min(one.need, fair) - one.held end
  end
  local held = have
  if open and not leaves then
    -- Who has its fair part takes only what nobody lacks who has less.
    local most = math.min(free, math.max(fair, free - lack))
    held = math.max(held, math.min(need, most))
    if used + held <= quota / 2 then held = math.max(held, math.min(want, math.floor(quota / 2) - used)) end
  end
  local tight = lack > 0 or used + held > quota
  local slack = used + held <= quota / 2
  if leaves then
    if have > 0 and not keeps then
      redis.call('HSET', key, '-' .. node, join({have, now + window}))
    end
    redis.call('HDEL', key, node)
  else
    redis.call('HSET', key, node, join({slot, run, sequence, held, need, now, spent, refunded}))
  end
  redis.call('HSET', key, 'begun', join({begun, level, level_at}))
  redis.call('PEXPIRE', key, math.min(2 * window, 90 * 86400000) + 600000)
  return {open and 1 or 0, held, tight and fair or -1, slack and 1 or 0, used}
end

redis.register_function('tidegate_member_@', member)
redis.register_function('tidegate_share_@', share)
