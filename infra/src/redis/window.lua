-- KEYS: a channel's head and window. ARGV: the serial after which to read, and how many messages at most.
-- Returns the head's epoch and serial and the envelopes; false where the window does not reach so far back, or nothing is after it.
local found = redis.call('HMGET', KEYS[1], 'e', 's')
if not found[1] then return false end
local head, after = tonumber(found[2]), tonumber(ARGV[1])
local skipped = after - (head - redis.call('LLEN', KEYS[2]))
if after >= head or skipped < 0 then return false end
return { found[1], found[2], redis.call('LRANGE', KEYS[2], skipped, skipped + tonumber(ARGV[2]) - 1) }
