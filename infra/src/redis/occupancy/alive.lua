-- The nodes that count subscriptions: a hash of nodes, each with its newest generation, the one that is counted, and when both end if the
-- node is not heard of.
-- KEYS: the hash. ARGV: the node, its newest generation, 1 if that is counted from now on, how long it lasts.
-- Answers 1; or 0 if what the node told in this generation may be forgotten, so that it has to begin another. A new generation leaves the
-- one counted that was, until all of it is told. A call that a later one has overtaken changes nothing.

local node, newest, is_counted, lasts = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1', tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local known, counted, is_alive = -1, 0, false
local found = redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local last_newest, last_counted, ends = found[at + 1]:match('^(%d+) (%d+) (%d+)$')
  if found[at] == node then
    known, is_alive = tonumber(last_newest), tonumber(ends) > now
    if is_alive then counted = tonumber(last_counted) end
  elseif tonumber(ends) + 60000 < now then
    redis.call('HDEL', KEYS[1], found[at])
  end
end

if known > newest then return 1 end
local begins = known < newest and not is_counted
if not begins and not (known == newest and is_alive) then return 0 end
if is_counted then counted = newest end
redis.call('HSET', KEYS[1], node, string.format('%.0f %.0f %.0f', newest, counted, now + lasts))
redis.call('PEXPIRE', KEYS[1], 3600000)
return 1
