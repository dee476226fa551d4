"""What Redis does in one step, in Lua: `redis_store` and `version_pointer` call it."""

# KEYS: history, list, served version, next version, previous version. ARGV: revision read, generation, batch id, new
# history, history TTL, new list, list TTL, served version the list is for (or *), prefix of behind sets, subject.
WRITE = """
local serving = ARGV[8] ~= '*'
if serving and (redis.call('GET', KEYS[3]) or '') ~= ARGV[8] then return -2 end
local header = redis.call('GETRANGE', KEYS[1], 0, 27)
local revision = 0
if #header == 28 then
  local generation, batch
  revision, generation, batch = struct.unpack('<I4I4i8', header, 5)
  local ours, our_batch = tonumber(ARGV[2]), tonumber(ARGV[3])
  if generation > ours or (generation == ours and batch > our_batch) then return -1 end
end
if revision ~= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[4], 'EX', ARGV[5])
if ARGV[6] ~= '' then redis.call('SET', KEYS[2], ARGV[6], 'EX', ARGV[7]) end
for place = 4, serving and 5 or 3 do
  local other = redis.call('GET', KEYS[place])
  if other then
    redis.call('SADD', ARGV[9] .. other, ARGV[10])
    redis.call('EXPIRE', ARGV[9] .. other, ARGV[7])
  end
end
return 1
"""

# KEYS: next, previous, warmed, behind. ARGV: version. Marks made before the announcement are worth nothing.
ANNOUNCE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1])
if redis.call('GET', KEYS[2]) ~= ARGV[1] then redis.call('DEL', KEYS[3], KEYS[4]) end
return 1
"""
# KEYS: history, list, behind. ARGV: revision read, list, list TTL, subject. The history stays as it is; who withdrew
# (generation of `redis_store.CLOSED`) gets no list.
REFRESH = """
local header = redis.call('GETRANGE', KEYS[1], 0, 11)
local revision, generation = 0, 0
if #header == 12 then revision, generation = struct.unpack('<I4I4', header, 5) end
if revision ~= tonumber(ARGV[1]) then return 0 end
if revision > 0 and generation < 4294967295 then redis.call('SET', KEYS[2], ARGV[2], 'EX', ARGV[3]) end
redis.call('SREM', KEYS[3], ARGV[4])
return 1
"""
# KEYS: model, next, previous, behind, warmed. ARGV: version, seconds to keep the previous one, 1 = though people are
# behind, prefix of item ids, list TTL: the item ids of the previous version expire with its lists. Returns status
# (1 switched, 0 people are behind, -1 another version is announced) and the version now obsolete.
SWITCH = """
local served = redis.call('GET', KEYS[1])
if served == ARGV[1] then
  if redis.call('GET', KEYS[2]) == served then redis.call('DEL', KEYS[2], KEYS[5]) end
  return {1, ''}
end
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return {-1, redis.call('GET', KEYS[2]) or ''} end
if ARGV[3] == '0' and redis.call('SCARD', KEYS[4]) > 0 then return {0, ''} end
local obsolete = redis.call('GET', KEYS[3]) or ''
redis.call('SET', KEYS[1], ARGV[1])
redis.call('DEL', KEYS[2], KEYS[5])
if served then
  redis.call('SET', KEYS[3], served, 'EX', ARGV[2])
  redis.call('EXPIRE', ARGV[4] .. served, ARGV[5])
end
return {1, obsolete}
"""
