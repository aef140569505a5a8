-- What happens to one channel's presence: `Roster` of the domain, with holders, each of which is one node's tenure.
-- KEYS: the members; their order; when those leave who have no connection; the version and the life; the holders that are fenced off;
-- the holder's sessions; the channel of pub/sub.
-- ARGV: what is asked; PUBLISH or SPUBLISH; the beginning of an event's envelope; the holder; then what each part names.
-- Answers a word first: `ok`, `full`, `absent` or `fenced`.

local members, order, leaving, life, fences, sessions, wire = unpack(KEYS)
local asked, publish, head, holder = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local DAY, HOUR = 86400, 3600
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end

local function find(client)
  local packed = redis.call('HGET', members, client)
  return packed and cmsgpack.unpack(packed)
end

local function keep(client, member) redis.call('HSET', members, client, cmsgpack.pack(member)) end

local function begin()
  if redis.call('EXISTS', life) == 0 then redis.call('HSET', life, 'begun', whole(now), 'version', whole(now)) end
  redis.call('PERSIST', life)
end

local function say(action, client, member)
  begin()
  local version = redis.call('HINCRBY', life, 'version', 1)
  local text = head .. ',"version":' .. whole(version) .. ',"action":"' .. action .. '","client":' .. cjson.encode(client)
    .. ',"connection":"' .. member.connection .. '"'
  if member.data ~= '' then text = text .. ',"data":' .. member.data end
  if member.info ~= '' then text = text .. ',"info":' .. member.info end
  redis.call(publish, wire, text .. ',"time":' .. whole(now) .. '}}')
end

local function remove(client, member)
  redis.call('HDEL', members, client)
  redis.call('ZREM', order, client)
  redis.call('ZREM', leaving, client)
  say('leave', client, member)
  if redis.call('EXISTS', members) == 0 then redis.call('EXPIRE', life, DAY) end
end

-- Takes a session out; its client leaves with its last, at once or after a while.
local function let_go(connection, grace, data)
  local client = redis.call('HGET', sessions, connection)
  if not client then return false end
  redis.call('HDEL', sessions, connection)
  local member = find(client)
  if not member then return true end
  member.count = member.count - 1
  if member.count > 0 then
    keep(client, member)
  elseif grace > 0 then
    keep(client, member)
    redis.call('ZADD', leaving, now + grace, client)
  else
    if data ~= '' then member.data = data end
    remove(client, member)
  end
  return true
end

local function sweep(most)
  for _, client in ipairs(redis.call('ZRANGEBYSCORE', leaving, '-inf', now, 'LIMIT', 0, most)) do
    local member = find(client)
    if member then remove(client, member) else redis.call('ZREM', leaving, client) end
  end
  local next = redis.call('ZRANGE', leaving, 0, 0, 'WITHSCORES')
  return next[2] and math.max(tonumber(next[2]) - now, 0) or -1
end

-- Enters, or names a session again that was entered before: then `since` and `said` tell when, and nobody is turned away.
local function enter(client, connection, data, info, most, since, said, settling)
  local member, is_named_again = find(client), since ~= ''
  local is_new = not member
  if is_new then
    if not is_named_again and redis.call('HLEN', members) >= tonumber(most) then return { 'full' } end
    member = { connection = connection, data = data, info = info, count = 0, since = now, said = now }
    if is_named_again then member.since, member.said = tonumber(since), tonumber(said) end
  end
  if redis.call('HSET', sessions, connection, client) == 1 then member.count = member.count + 1 end
  redis.call('ZREM', leaving, client)
  local says_else = member.data ~= data or member.info ~= info
  if not is_named_again or tonumber(said) > member.said then
    member.connection, member.data, member.info = connection, data, info
    member.said = is_named_again and tonumber(said) or now
  else
    says_else = false
  end
  keep(client, member)
  redis.call('ZADD', order, 0, client)
  begin()
  -- Whoever was here before this life began was forgotten with the one before it. Right after that, those who watch still know it all.
  local begun = tonumber(redis.call('HGET', life, 'begun'))
  if is_named_again and tonumber(since) < begun and now - begun < tonumber(settling) then
    -- Whoever asks who is there is to know that others may not have been named again.
    redis.call('HSET', life, 'forgot', 1)
  else
    if is_new then say('enter', client, member) elseif says_else then say('update', client, member) end
  end
  return { 'ok', whole(member.said), whole(member.since) }
end

if asked == 'page' then
  local from = ARGV[5] == '' and '-' or '(' .. ARGV[5]
  local clients = redis.call('ZRANGEBYLEX', order, from, '+', 'LIMIT', 0, ARGV[6])
  local known = redis.call('HMGET', life, 'begun', 'version', 'forgot')
  local begun = known[1] and tonumber(known[1]) or 0
  local page = { 'ok', whole(redis.call('HLEN', members)), known[2] or '0', whole(begun), whole(math.max(now - begun, 0)), known[3] or '0' }
  for _, client in ipairs(clients) do
    local member = find(client)
    if member then
      for _, part in ipairs({ client, member.connection, member.data, member.info, whole(member.since) }) do
        page[#page + 1] = part
      end
    end
  end
  return page
elseif asked == 'reap' then
  redis.call('SADD', fences, holder)
  redis.call('EXPIRE', fences, HOUR)
  local some = redis.call('HRANDFIELD', sessions, ARGV[5])
  for _, connection in ipairs(some) do let_go(connection, tonumber(ARGV[6]), '') end
  return { 'ok', whole(redis.call('HLEN', sessions)), whole(sweep(tonumber(ARGV[5]))) }
elseif asked == 'sweep' then
  return { 'ok', '0', whole(sweep(tonumber(ARGV[5]))) }
elseif redis.call('SISMEMBER', fences, holder) == 1 then
  return { 'fenced' }
elseif asked == 'enter' then
  return enter(ARGV[5], ARGV[6], ARGV[7], ARGV[8], ARGV[9], ARGV[10], ARGV[11], ARGV[12])
elseif asked == 'update' then
  local client, connection = ARGV[5], ARGV[6]
  local member = redis.call('HGET', sessions, connection) == client and find(client)
  if not member then return { 'absent' } end
  member.connection, member.data, member.info, member.said = connection, ARGV[7], ARGV[8], now
  keep(client, member)
  say('update', client, member)
  return { 'ok', whole(now), whole(member.since) }
elseif asked == 'leave' then
  return { let_go(ARGV[5], tonumber(ARGV[6]), ARGV[7]) and 'ok' or 'absent' }
end
