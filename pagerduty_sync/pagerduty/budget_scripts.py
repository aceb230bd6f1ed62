"""The budget's three Lua scripts. Redis runs each as one step and by its own clock, so no two processes disagree.

All times are microseconds; every key expires by itself when nothing is left to remember.
"""

from __future__ import annotations

from typing import Any, Protocol


class Script(Protocol):
    """A registered script, as redis-py gives it."""

    def __call__(self, keys: Any = ..., args: Any = ...) -> Any: ...


_NOW = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
"""

# An operation's allowance is a bucket whose rate has a memory: tokens, rate a minute, and when both were computed.
_BUCKET = """
local function bucket(key, most, recovery)
    local saved = redis.call('HMGET', key, 'rate', 'tokens', 'at', 'blocked')
    local at = math.min(tonumber(saved[3]) or now, now)
    local blocked = tonumber(saved[4]) or 0
    local rate = math.min(most, (tonumber(saved[1]) or most) + (now - at) / 1000000 * most / recovery)
    local room = math.max(1, rate / 6)
    -- Nothing is earned while it stands still, or a burst would follow every stop.
    local seconds = math.max(0, now - math.max(at, blocked)) / 1000000
    local tokens = math.min(room, (tonumber(saved[2]) or room) + seconds * rate / 60)
    return rate, tokens, blocked
end

local function keep(key, rate, tokens, blocked, recovery)
    redis.call('HSET', key, 'rate', string.format('%.6f', rate), 'tokens', string.format('%.6f', tokens),
        'at', string.format('%.0f', now), 'blocked', string.format('%.0f', blocked))
    redis.call('PEXPIRE', key, math.ceil(math.max(recovery * 1000, (blocked - now) / 1000)) + 60000)
end
"""

TAKE = (
    _NOW
    + _BUCKET
    + """
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local reserved, is_lesser = tonumber(ARGV[4]), ARGV[5] == '1'

local blocked = redis.call('HMGET', KEYS[2], 'all', 'lesser')
local wait = (tonumber(blocked[1]) or 0) - now
if is_lesser then
    wait = math.max(wait, (tonumber(blocked[2]) or 0) - now)
end

-- GCRA; a reserve below nothing goes that far beyond the burst. The upper bound, which no reserve reaches, matters when
-- a new primary's clock is behind the old one's.
local arrival = math.max(tonumber(redis.call('GET', KEYS[1])) or 0, now)
arrival = math.min(arrival, now + 2 * burst * interval) + cost * interval
wait = math.max(wait, arrival - now - math.max(burst - reserved, cost) * interval)

local rate, tokens, until_at, recovery
if KEYS[3] then
    recovery = tonumber(ARGV[8])
    rate, tokens, until_at = bucket(KEYS[3], tonumber(ARGV[6]), recovery)
    wait = math.max(wait, until_at - now, (1 - tokens) * 60000000 / rate)
end

if wait > 0 then
    return math.ceil(wait)
end
redis.call('SET', KEYS[1], string.format('%.0f', math.ceil(arrival)), 'PX', math.ceil((arrival - now) / 1000) + 1000)
if KEYS[3] then
    keep(KEYS[3], rate, tokens - 1, until_at, recovery)
end
return 0
"""
)

BLOCK = (
    _NOW
    + """
local until_at = math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1])) or 0, now + tonumber(ARGV[2]))
redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', until_at))
local left = math.ceil((until_at - now) / 1000) + 1000
redis.call('PEXPIRE', KEYS[1], math.max(left, redis.call('PTTL', KEYS[1])))
return 0
"""
)

SLOW_DOWN = (
    _NOW
    + _BUCKET
    + """
local most, least, recovery = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local rate, tokens, until_at = bucket(KEYS[1], most, recovery)
-- Refusals that come together tell one thing, so only the first of them slows us down.
if until_at <= now then
    rate = math.max(least, rate / 2)
end
keep(KEYS[1], rate, 0, math.max(until_at, now + tonumber(ARGV[4])), recovery)
return 0
"""
)
