-- Puts a value in the place of its lease, if that is still there; 1 if it was.
-- KEYS: the entry. ARGV: lease, value, when the lease was given, until when it is current or '',
-- longest it may be current and how long it is kept afterwards, all in ms; then part, version, ...
local key = KEYS[1]
if redis.call('HGET', key, 'lease') ~= ARGV[1] then
    return 0
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = math.min(now + ARGV[5], tonumber(ARGV[4]) or math.huge)
redis.call('DEL', key)
redis.call('HSET', key, 'value', ARGV[2], 'read', ARGV[3], 'until', ends)
for i = 7, #ARGV, 2 do
    redis.call('HSET', key, 'part/' .. ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', key, math.max(ends - now, 0) + ARGV[6])
return 1
