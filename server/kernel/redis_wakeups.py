"""Wake-ups between processes, by Redis publish and subscribe."""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from server.kernel.end_task import end_task
from server.kernel.redis import RedisGone, RedisLink, close, connect
from server.kernel.wakeups import LocalWakeups, Wakeup

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

CHANNEL = "isthmus:wakeups"  # the message is the topic
AGAIN_S = 0.5  # between tries to listen
SILENT_S = 2.0  # then Redis is asked whether it is still there, and has as long to answer


class RedisWakeups(LocalWakeups):
    """Tells this process at once and the others by Redis."""

    def __init__(self, link: RedisLink) -> None:
        super().__init__()
        self._link = link
        self._unsent: set[str] = set()
        self._to_send = Wakeup()

    def tell(self, topic: str) -> None:
        super().tell(topic)
        self._unsent.add(topic)  # told many times before it is sent, it is sent once
        self._to_send.tell()

    async def run(self, stop: asyncio.Event) -> None:
        tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._listen())]
        await stop.wait()
        for task in tasks:
            await end_task(task)

    async def _send(self) -> None:
        while True:
            await self._to_send.wait(3600)
            topics, self._unsent = self._unsent, set()
            for topic in topics:
                try:
                    await self._link.call(partial(_publish, topic))
                except RedisGone:
                    break  # the others look by themselves

    async def _listen(self) -> None:
        """Listen, and listen again whenever that ends; what was said meanwhile may be missed, so all look."""
        from redis.exceptions import RedisError

        while True:
            client = connect(self._link.url, SILENT_S)
            try:
                async with client.pubsub() as heard:
                    await heard.subscribe(CHANNEL)
                    self.tell_all()
                    await self._hear(heard)
            except (RedisError, OSError, TimeoutError):
                pass
            finally:
                await close(client)
            await asyncio.sleep(AGAIN_S)

    async def _hear(self, heard: "PubSub") -> None:
        """Pass wake-ups on until Redis is silent even when asked."""
        was_asked = False
        while True:
            message = await heard.get_message(timeout=SILENT_S)
            if message is None:
                if was_asked:
                    raise TimeoutError
                await heard.ping()
            elif message["type"] == "message":
                super().tell(message["data"].decode())
            was_asked = message is None

    def tell_all(self) -> None:
        for topic in list(self._waiting):
            super().tell(topic)


async def _publish(topic: str, client: "Redis") -> None:
    await client.publish(CHANNEL, topic)
