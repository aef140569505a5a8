-- The registry of holders: who is alive, and in which channels each may have sessions.
-- KEYS: a sorted set of holders by when their leases end; when Redis was last heard to be asked; the holder's channels.
-- ARGV: what is asked; the holder; how long leases last; how long none ends after Redis came back; what each part names.

local holders, life, channels = unpack(KEYS)
local asked, holder, lease, settling = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

-- Nobody asks for so long only if nobody can: then Redis was away.
local known = redis.call('HMGET', life, 'asked', 'back', 'begun')
-- Since when anything is known. An older build did not say.
local begun = known[3] or (known[1] and '0') or whole(now)
if not known[3] then redis.call('HSET', life, 'begun', begun) end
if not known[1] or now - tonumber(known[1]) > lease / 2 then redis.call('HSET', life, 'back', whole(now)) end
redis.call('HSET', life, 'asked', whole(now))
local is_settled = now - tonumber(redis.call('HGET', life, 'back')) >= settling

local function is_alive()
  local ends = redis.call('ZSCORE', holders, holder)
  return ends and (tonumber(ends) > now or not is_settled)
end

if asked == 'whole' then
  -- A node that knew of something earlier tells all others that it was forgotten.
  if ARGV[5] ~= '' and ARGV[5] ~= begun then redis.call('HSET', life, 'forgot', 1) end
  local left = settling - (now - tonumber(begun))
  return { begun, whole(redis.call('HEXISTS', life, 'forgot') == 1 and math.max(left, 0) or 0) }
elseif asked == 'begin' then
  redis.call('ZADD', holders, now + lease, holder)
  return 1
elseif asked == 'renew' then
  if not is_alive() then return 0 end
  redis.call('ZADD', holders, now + lease, holder)
  return 1
elseif asked == 'note' then
  if not is_alive() then return 0 end
  redis.call('SADD', channels, unpack(ARGV, 5))
  return 1
elseif asked == 'forget' then
  redis.call('SREM', channels, unpack(ARGV, 5))
  return 1
elseif asked == 'retire' then
  if redis.call('ZSCORE', holders, holder) then redis.call('ZADD', holders, now + tonumber(ARGV[5]), holder) end
  return 1
elseif asked == 'ended' then
  return is_settled and redis.call('ZRANGEBYSCORE', holders, '-inf', now, 'LIMIT', 0, 16) or {}
elseif asked == 'channels' then
  local some = redis.call('SRANDMEMBER', channels, ARGV[5])
  if #some == 0 then redis.call('ZREM', holders, holder) end
  return some
end
