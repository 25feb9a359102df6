-- What the store does for answers that several gateways share (Redis 7 or Valkey, FUNCTION). `@` becomes a digest
-- of this text.
--
-- A client's answers stand in one hash, under names that say nothing, and when each of them ends in a sorted set
-- beside it. What is sealed is not looked into. Only the server's clock is used.

local EACH = 256
local PASS_MS = 2000
local CHANGES = 4096
local CHANGES_MS = 2 * 86400000

local function now_ms()
  local time = redis.call('TIME')
  return tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local function text(number)
  return string.format('%.0f', number)
end

-- A whole number, or nil.
local function whole(said)
  if not said or #said > 15 or not string.find(said, '^%d+$') then return nil end
  return tonumber(said)
end

local function is(key, kind)
  local found = redis.call('TYPE', key).ok
  return found == 'none' or found == kind
end

-- Whether the client's answers are where they should be; what is not is taken away.
local function sound(keys)
  if is(keys[1], 'hash') and is(keys[2], 'zset') then return true end
  redis.call('UNLINK', keys[1], keys[2])
  return false
end

-- Take one answer out; how much room it had.
local function take_out(keys, name)
  local size = redis.call('HSTRLEN', keys[1], name)
  redis.call('ZREM', keys[2], name)
  if size == 0 then return 0 end
  redis.call('HDEL', keys[1], name)
  return size + EACH
end

-- KEYS: answers, ends, flight. ARGV: name, who asks, how long it may fetch (ms), what an answer may take, drop (1:
-- what stands there does not open).
-- Answers: 1 and the answer; 2: who asks is to fetch it; 3: another does; 4: it cannot be shared.
local function look(keys, args)
  if sound(keys) then
    if args[5] == '1' then
      local freed = take_out(keys, args[1])
      local used = whole(redis.call('HGET', keys[1], 'bytes')) or 0
      if freed > 0 then redis.call('HSET', keys[1], 'bytes', text(math.max(used - freed, 0))) end
    else
      local ends = redis.call('ZSCORE', keys[2], args[1])
      if ends and tonumber(ends) > now_ms() then
        local size = redis.call('HSTRLEN', keys[1], args[1])
        if size > 0 and size <= tonumber(args[4]) then return {1, redis.call('HGET', keys[1], args[1])} end
      end
    end
  end
  if not is(keys[3], 'string') then redis.call('DEL', keys[3]) end
  local flight, left = redis.call('GET', keys[3]), redis.call('PTTL', keys[3])
  -- Nobody fetches for ever.
  if flight and left > 0 and left <= math.max(tonumber(args[3]), PASS_MS) then
    if flight == 'pass' then return {4, ''} end
    if flight ~= args[2] then return {3, ''} end
  end
  redis.call('SET', keys[3], args[2], 'PX', args[3])
  return {2, ''}
end

-- KEYS: answers, ends. ARGV: name, answer, for how long (ms), what all of the client's may take.
local function keep(keys, args)
  local name, life, most, now = args[1], tonumber(args[3]), tonumber(args[4]), now_ms()
  sound(keys)
  local used = whole(redis.call('HGET', keys[1], 'bytes') or '0')
  if not used then
    redis.call('UNLINK', keys[1], keys[2])
    used = 0
  end
  for _, ended in ipairs(redis.call('ZRANGEBYSCORE', keys[2], '-inf', text(now), 'LIMIT', 0, 100)) do
    used = used - take_out(keys, ended)
  end
  used = used - take_out(keys, name)
  local size = #args[2] + EACH
  if size > most then return 0 end
  -- What ends soonest makes room.
  while used + size > most do
    local first = redis.call('ZPOPMIN', keys[2])
    if not first[1] then
      redis.call('UNLINK', keys[1])
      used = 0
      break
    end
    used = used - take_out(keys, first[1])
  end
  redis.call('HSET', keys[1], name, args[2], 'bytes', text(math.max(used, 0) + size))
  redis.call('ZADD', keys[2], text(now + life), name)
  for place = 1, 2 do
    if redis.call('PTTL', keys[place]) < life then redis.call('PEXPIRE', keys[place], args[3]) end
  end
  return 1
end

-- KEYS: flight. ARGV: who fetched, pass (1: what came cannot be shared).
local function land(keys, args)
  if not is(keys[1], 'string') or redis.call('GET', keys[1]) ~= args[1] then return 0 end
  if args[2] == '1' then
    redis.call('SET', keys[1], 'pass', 'PX', PASS_MS)
  else
    redis.call('DEL', keys[1])
  end
  return 1
end

-- KEYS: changes. ARGV: the last one that was heard of (empty: none), then those to tell.
-- Answers: the first that is known, then those after the last: number, change, number, change …
local function hear(keys, args)
  if not is(keys[1], 'stream') then redis.call('DEL', keys[1]) end
  for place = 2, #args do
    redis.call('XADD', keys[1], 'MAXLEN', CHANGES, '*', 'c', args[place])
  end
  if #args > 1 then redis.call('PEXPIRE', keys[1], CHANGES_MS) end
  local first = redis.call('XRANGE', keys[1], '-', '+', 'COUNT', 1)[1]
  local said = {first and first[1] or ''}
  local from = args[1] == '' and '-' or '(' .. args[1]
  for _, one in ipairs(redis.call('XRANGE', keys[1], from, '+', 'COUNT', CHANGES)) do
    said[#said + 1] = one[1]
    said[#said + 1] = one[2][2] or ''
  end
  return said
end

redis.register_function('tidegate_look_@', look)
redis.register_function('tidegate_keep_@', keep)
redis.register_function('tidegate_land_@', land)
redis.register_function('tidegate_hear_@', hear)
