-- The registry of an app's connections: a hash of nodes, each with how many places it holds, when they end if it is not heard of, and the
-- number of the last call that said so.
-- KEYS: the hash. ARGV: the node, the number of the call, how many places it holds, how many more it wants, the limit, how long places last.
-- Answers how many it may have, and how many the other nodes hold. A call that a later one has overtaken changes nothing.

local node, call, held, wanted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, lasts = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local others, found = 0, redis.call('HGETALL', KEYS[1])
for at = 1, #found, 2 do
  local count, ends, last = found[at + 1]:match('^(%d+) (%d+) (%d+)$')
  if found[at] == node then
    if tonumber(last) >= call then return { 0, 0 } end
  elseif tonumber(ends) > now then
    others = others + tonumber(count)
  else
    redis.call('HDEL', KEYS[1], found[at])
  end
end

local given = math.max(0, math.min(wanted, limit - others - held))
if held + given > 0 then
  redis.call('HSET', KEYS[1], node, string.format('%.0f %.0f %.0f', held + given, now + lasts, call))
  redis.call('PEXPIRE', KEYS[1], lasts)
else
  redis.call('HDEL', KEYS[1], node)
end
return { given, others }
