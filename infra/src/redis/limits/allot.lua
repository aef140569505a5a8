-- The allotter of one rate of one app: `Allotter` of the domain, line by line, in whole numbers (thousandths of a token, milliseconds).
-- KEYS: its state. ARGV: the node; limit and burst; demand, taken, uncharged and level of its report; how long a share lasts; the time,
-- or nothing for the server's. Answers the share, the level and the number of nodes.

local node, per_s = ARGV[1], tonumber(ARGV[2])
local limit, burst = per_s * 1000, tonumber(ARGV[3]) * 1000
local demand, taken, uncharged, level = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local lasts, now = tonumber(ARGV[8]), tonumber(ARGV[9])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local stored = redis.call('GET', KEYS[1])
local state = stored and cmsgpack.unpack(stored) or { level = burst, burst = burst, at = now, nodes = {} }

-- Settle.
local filled = math.min(state.level + per_s * math.max(now - state.at, 0), state.burst)
state.level = math.min(filled + burst - state.burst, burst)
state.burst = burst
state.at = math.max(state.at, now)
for name, entry in pairs(state.nodes) do
  if entry.ends <= now then state.nodes[name] = nil end
end

-- Charge.
local mine = state.nodes[node]
if mine then
  state.level = state.level - math.max(taken - mine.taken, 0) * 1000
else
  state.level = math.min(state.level - uncharged * 1000, level)
end

-- Share.
local function fair(demands)
  table.sort(demands)
  local left, count = limit, #demands
  for met, other in ipairs(demands) do
    local even = math.floor(left / (count - met + 1))
    if other > even then return math.min(demand, even) end
    left = left - other
  end
  return demand + math.floor(left / count)
end

local demands, reserved, untold, nodes = { demand }, 0, 0, 1
for name, entry in pairs(state.nodes) do
  if name ~= node then
    nodes = nodes + 1
    demands[nodes] = entry.demand
    reserved = reserved + entry.share
    local since = math.max(state.at - (entry.ends - lasts), 0)
    untold = untold + math.floor(math.min(entry.share, entry.demand) * since / 1000)
  end
end
local share = math.min(fair(demands), math.max(limit - reserved, 0))
state.nodes[node] = { demand = demand, share = share, taken = taken, ends = now + lasts }

-- Kept until it says no more than a state that was never there: the bucket is full and no share lasts. A day is long enough.
local full_in = math.ceil((burst - state.level) / math.max(per_s, 1))
redis.call('SET', KEYS[1], cmsgpack.pack(state), 'PX', math.min(full_in + lasts, 86400000))
return { share, state.level - untold, nodes }
