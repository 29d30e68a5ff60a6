"""An echo on asyncio: `echo.py drain` waits for its peer as it should, `echo.py` does not."""
import asyncio
import sys


async def echo(reader, writer):
    try:
        while data := await reader.read(65_536):
            writer.write(data)
            if "drain" in sys.argv:
                await writer.drain()
    except OSError:
        pass


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    print("127.0.0.1:%d" % server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
