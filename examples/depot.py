"""A small asyncio library, as one finds many: it knows nothing of moonlet. A depot keeps amounts
of goods; its protocol has one line for each request and each answer."""

import asyncio


class DepotError(Exception):
    pass


class Server:
    def __init__(self, goods):
        self.goods = {str(name): int(amount) for name, amount in goods.items()}
        self._changed = None
        self._server = None

    async def start(self):
        """Listens on a free port of this machine, and returns that."""
        self._changed = asyncio.Condition()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader, writer):
        try:
            while line := await reader.readline():
                try:
                    answer = await self._answer(*line.decode().split())
                except KeyError as error:
                    answer = "error there is no {}".format(error.args[0])
                writer.write("{}\n".format(answer).encode())
                await writer.drain()
        finally:
            writer.close()

    async def _answer(self, command, name, amount=0):
        have = self.goods[name]
        if command == "put":
            async with self._changed:
                self.goods[name] = have + int(amount)
                self._changed.notify_all()
        elif command == "wait":
            async with self._changed:
                await self._changed.wait_for(lambda: self.goods[name] >= int(amount))
        await asyncio.sleep(0.001)  # it is far away
        return self.goods[name]


class Client:
    def __init__(self, host, port):
        self.host, self.port = host, port

    async def connect(self):
        await self._open()

    async def close(self):
        self._writer.close()
        await self._writer.wait_closed()

    async def get(self, name):
        return await self._ask("get", name)

    async def put(self, name, amount):
        return await self._ask("put", name, amount)

    async def wait_for(self, name, amount):
        """Waits until there is so much of it."""
        return await self._ask("wait", name, amount)

    async def _open(self):
        self._reader, self._writer = await asyncio.open_connection(self.host, self.port)

    async def _ask(self, *request):
        try:
            self._writer.write("{}\n".format(" ".join(map(str, request))).encode())
            await self._writer.drain()
            answer = (await self._reader.readline()).decode().strip()
        except asyncio.CancelledError:
            # The answer may come yet, to no question: this connection is of no more use.
            await self.close()
            await self._open()
            raise
        if answer.startswith("error "):
            raise DepotError(answer.partition(" ")[2])
        return int(answer)


async def total(*awaitables):
    """The sum of what they give."""
    return sum(await asyncio.gather(*awaitables))
