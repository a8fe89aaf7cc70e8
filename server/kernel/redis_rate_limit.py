"""Rate limits counted in Redis, for all processes together; in this one while Redis is gone."""

from typing import Any

from server.kernel.rate_limit import LocalRateLimiter, Rate
from server.kernel.redis import RedisGone, RedisLink

# All in microseconds, by Redis's clock. `%.0f`: Lua would round the instant to 14 digits.
SCRIPT = """
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local interval, tolerance = tonumber(ARGV[1]), tonumber(ARGV[2])
local arrival = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + interval
local wait = arrival - tolerance - now
if wait > 0 then return string.format('%.0f', wait) end
if arrival > now then
  redis.call('SET', KEYS[1], string.format('%.0f', arrival), 'PX', math.ceil((arrival - now) / 1000))
else
  redis.call('DEL', KEYS[1])
end
return '0'
"""


class RedisRateLimiter:
    """Counts in Redis."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._local = LocalRateLimiter()

    async def take(self, rate: Rate, key: str) -> float:
        try:
            return await self._run(rate, key, +1)
        except RedisGone:
            return await self._local.take(rate, key)

    async def give_back(self, rate: Rate, key: str) -> None:
        try:
            await self._run(rate, key, -1)
        except RedisGone:
            await self._local.give_back(rate, key)

    async def _run(self, rate: Rate, key: str, count: int) -> float:
        interval, tolerance = (round(seconds * 1e6) for seconds in (rate.interval_s, rate.tolerance_s))
        name = f"isthmus:rate:{rate.name}:{key}"

        async def run(client: Any) -> bytes:
            script = client.register_script(SCRIPT)
            answer: bytes = await script(keys=[name], args=[count * interval, tolerance])
            return answer

        return int(await self._link.call(run)) / 1e6
