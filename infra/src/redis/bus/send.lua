-- Moves a channel's head and hot window forward, then publishes, all at once.
-- KEYS: the channel of pub/sub; for messages also the head and the window.
-- ARGV: PUBLISH or SPUBLISH; how many messages and how many bytes a window keeps; for how many seconds windows and heads are kept;
-- then of each message its epoch, its serial (both empty where it has no place) and its envelope, in order.
-- Returns the head if it was ahead of the last message with a place.
local ahead = false
if KEYS[2] then
  local found = redis.call('HMGET', KEYS[2], 'e', 's', 'b')
  local epoch, serial, bytes = found[1], tonumber(found[2] or 0), tonumber(found[3] or 0)
  local kept = redis.call('LLEN', KEYS[3])
  if kept == 0 then bytes = 0 end
  local fresh, is_torn, has_moved, last_epoch, last_serial = {}, false, false, nil, nil
  for i = 6, #ARGV, 3 do
    if ARGV[i] ~= '' then
      last_epoch, last_serial = ARGV[i], tonumber(ARGV[i + 1])
      if last_epoch ~= epoch or last_serial > serial then
        if last_epoch ~= epoch or last_serial ~= serial + 1 then
          fresh, is_torn, kept, bytes = {}, true, 0, 0
        end
        epoch, serial, has_moved = last_epoch, last_serial, true
        fresh[#fresh + 1] = ARGV[i + 2]
        bytes = bytes + #ARGV[i + 2]
      end
    end
  end
  if has_moved then
    local set = redis.pcall('HSET', KEYS[2], 'e', epoch, 's', string.format('%.0f', serial))
    if type(set) == 'table' and set.err then
      -- A server without room forgets the channel and still delivers. Whatever else it refuses is its caller's concern.
      if string.sub(set.err, 1, 3) ~= 'OOM' and string.sub(set.err, 1, 4) ~= '-OOM' then return set end
      redis.call('DEL', KEYS[2], KEYS[3])
    else
      if is_torn then redis.call('DEL', KEYS[3]) end
      for _, envelope in ipairs(fresh) do redis.call('RPUSH', KEYS[3], envelope) end
      kept = kept + #fresh
      while kept > tonumber(ARGV[2]) or bytes > tonumber(ARGV[3]) do
        bytes = bytes - #redis.call('LPOP', KEYS[3])
        kept = kept - 1
      end
      redis.call('HSET', KEYS[2], 'b', string.format('%.0f', bytes))
      redis.call('EXPIRE', KEYS[2], ARGV[5])
      redis.call('EXPIRE', KEYS[3], ARGV[4])
    end
  end
  if last_epoch and last_epoch == epoch and serial > last_serial then
    ahead = { epoch, string.format('%.0f', serial) }
  end
end
for i = 8, #ARGV, 3 do redis.call(ARGV[1], KEYS[1], ARGV[i]) end
return ahead
