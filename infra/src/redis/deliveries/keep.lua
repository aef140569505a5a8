-- Keeps courses of one client in one channel, and lets go what is too much; all keys are of the app's slot.
-- KEYS: the client's courses, the order of all of the app's, how far its trace reaches back.
-- ARGV: the time; how long a course is kept; how many of the client and of the app; what the names of courses' keys begin with; the channel and
-- client; then of each course its id, when it was told, and the course.

local courses, order, reach = KEYS[1], KEYS[2], KEYS[3]
local now, kept, most, most_of_app = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local prefix, name = ARGV[5], ARGV[6]

local function raise(key, at)
  if tonumber(at) > tonumber(redis.call('HGET', key, 'floor') or 0) then redis.call('HSET', key, 'floor', at) end
end

redis.call('HSETNX', reach, 'since', ARGV[1])
for at = 7, #ARGV, 3 do
  redis.call('HSET', courses, ARGV[at], ARGV[at + 2])
  redis.call('ZADD', order, ARGV[at + 1], ARGV[at] .. ' ' .. name)
end

-- The floor is a field of its own.
local surplus = redis.call('HLEN', courses) - redis.call('HEXISTS', courses, 'floor') - most
if surplus > 0 then
  local ids = {}
  for _, id in ipairs(redis.call('HKEYS', courses)) do
    if id ~= 'floor' then
      ids[#ids + 1] = { id = id, told = redis.call('ZSCORE', order, id .. ' ' .. name) or '0' }
    end
  end
  table.sort(ids, function(one, other) return tonumber(one.told) < tonumber(other.told) end)
  for at = 1, surplus do
    redis.call('HDEL', courses, ids[at].id)
    redis.call('ZREM', order, ids[at].id .. ' ' .. name)
    raise(courses, ids[at].told)
  end
end

local function let_go(member, told)
  local id, rest = member:match('^(%S+) (.+)$')
  redis.call('HDEL', prefix .. rest, id)
  raise(reach, told)
end

surplus = redis.call('ZCARD', order) - most_of_app
if surplus > 0 then
  local oldest = redis.call('ZPOPMIN', order, surplus)
  for at = 1, #oldest, 2 do let_go(oldest[at], oldest[at + 1]) end
end
local old = redis.call('ZRANGEBYSCORE', order, '-inf', now - kept, 'WITHSCORES', 'LIMIT', 0, 100)
for at = 1, #old, 2 do
  redis.call('ZREM', order, old[at])
  let_go(old[at], old[at + 1])
end

redis.call('PEXPIRE', courses, kept)
redis.call('PEXPIRE', order, kept)
redis.call('PEXPIRE', reach, kept * 30)
return 1
