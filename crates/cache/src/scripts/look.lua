-- Gives the current value, or the lease and the last known value; its own clock ends values.
-- KEYS: the entry. ARGV: a new lease, how long a lease alone is kept in ms.
local key, time = KEYS[1], redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('HGET', key, 'until')
if ends and tonumber(ends) > now then
    return { now, '', redis.call('HGETALL', key) }
end
if ends then
    -- For good: it must not come back when the clock is set back.
    redis.call('HDEL', key, 'until')
end
redis.call('HSETNX', key, 'lease', ARGV[1])
if redis.call('HEXISTS', key, 'value') == 0 then
    redis.call('PEXPIRE', key, ARGV[2])
end
return { now, redis.call('HGET', key, 'lease'), redis.call('HGETALL', key) }
