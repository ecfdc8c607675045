-- Kills leases, and ends the values that do not show a part at a version; how many it ended.
-- KEYS: the entries. ARGV: part and version of each; a version '' is shown by no value.
-- It only deletes, so it works when memory is full.

-- As text: versions above 2^53 are no numbers here.
local function below(held, version)
    return #held < #version or (#held == #version and held < version)
end

local ended = 0
for i, key in ipairs(KEYS) do
    local part, version = ARGV[2 * i - 1], ARGV[2 * i]
    redis.call('HDEL', key, 'lease')
    local held = redis.call('HGET', key, 'part/' .. part)
    if version == '' or not held or below(held, version) then
        ended = ended + redis.call('HDEL', key, 'until')
    end
end
return ended
