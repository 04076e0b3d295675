"""HTTP on asyncio alone, so that nothing of it is shared with what is tested: a server that may misbehave, and a client."""

import asyncio


class Request:
    def __init__(self, method, target, headers, body):
        self.method, self.target, self.headers, self.body = method, target, headers, body


async def read_head(reader):
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = dict(line.lower().split(": ", 1) if ": " in line else (line.lower(), "") for line in lines if line)
    return first, headers


async def serve(handle):
    """Serves on a free port. `handle(request, writer)` writes the whole answer by itself, or never does."""

    async def connection(reader, writer):
        try:
            while True:
                first, headers = await read_head(reader)
                method, target, _ = first.split(" ", 2)
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                await handle(Request(method, target, headers, body), writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError, ValueError):
            pass
        except asyncio.CancelledError:
            # Only the end of the run cancels it, and who hangs is under way then.
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connection, "127.0.0.1", 0, limit=1 << 16, backlog=1_000)
    return server, server.sockets[0].getsockname()[1]


def answer(writer, status, body=b"", headers=()):
    lines = [f"HTTP/1.1 {status} x", f"content-length: {len(body)}", *(f"{name}: {value}" for name, value in headers)]
    writer.write("\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body)


async def call(method, url, body=b"", headers=(), limit=30):
    """Gives (status, headers, body); status 0 when nothing answered."""
    host, _, path = url.removeprefix("http://").partition("/")
    name, port = host.split(":")

    async def once():
        reader, writer = await asyncio.open_connection(name, int(port), limit=1 << 16)
        try:
            lines = [f"{method} /{path} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}", "connection: close"]
            lines += [f"{name}: {value}" for name, value in headers]
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
            # A refusal may come before the body has been taken.
            try:
                writer.write(body)
                await writer.drain()
            except ConnectionError:
                pass
            first, answered = await read_head(reader)
            return int(first.split(" ")[1]), answered, await reader.read()
        finally:
            writer.close()

    try:
        return await asyncio.wait_for(once(), limit)
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError, ValueError, IndexError):
        return 0, {}, b""
