"""The article's echo server: with "drain" it waits until its buffer has shrunk, else it does not."""

import asyncio
import sys


async def on_client_connected(reader, writer):
    while True:
        data = await reader.readline()
        if not data:
            break
        writer.write(data)
        if sys.argv[1] == "drain":
            await writer.drain()


async def main():
    server = await asyncio.start_server(on_client_connected, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await server.serve_forever()


asyncio.run(main())
