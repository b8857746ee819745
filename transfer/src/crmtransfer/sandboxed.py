"""Starts the programs of `crmtransfer.sandbox` and listens to them."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from crmkit.errors import InvalidArgument

_LONGEST_LINE = 64 * 1024 * 1024
_PIECE = 1024 * 1024
# Each may take much memory; two imports or exports at work, and as many files that are only looked at.
_AT_ONCE = asyncio.Semaphore(4)
_KEPT_ENVIRONMENT = ("TMPDIR",)


class TooCostlyError(Exception):
    """A program needed more time or memory than it may have."""


async def output_of(
    program: str, arguments: Sequence[str], content: AsyncIterator[bytes], *, lines: bool
) -> AsyncGenerator[bytes, None]:
    """What a program writes while it is given a file; close it with `aclosing`.

    Args:
        program: A module of `crmtransfer.sandbox`.
        arguments: For the program.
        content: What it reads.
        lines: Whether to answer lines, or pieces of any length.

    Raises:
        TooCostlyError: It did not end well.
    """
    async with _AT_ONCE:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-I", "-X", "utf8", "-m", f"crmtransfer.sandbox.{program}", *arguments),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            limit=_LONGEST_LINE,
            # Ctrl-C is for the service, which ends its programs itself: one that dies is a file that fails.
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        feeding = asyncio.create_task(_feed(process.stdin, content))
        read = process.stdout.readline if lines else partial(process.stdout.read, _PIECE)
        try:
            while piece := await read():
                yield piece
            await feeding
            if await process.wait() != 0:
                raise TooCostlyError
        finally:
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            await _end(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def _feed(stdin: asyncio.StreamWriter, content: AsyncIterator[bytes]) -> None:
    # Who has read enough, or has died, closes the pipe: what it says then tells why.
    with suppress(BrokenPipeError, ConnectionResetError):
        async for chunk in content:
            stdin.write(chunk)
            await stdin.drain()
        stdin.close()
        await stdin.wait_closed()


async def answers_of(
    program: str, arguments: Sequence[str], content: AsyncIterator[bytes]
) -> AsyncGenerator[Any, None]:
    """What a reading program says of a file: the header and the rows.

    Raises:
        InvalidArgument: The file is refused, or needs more time or memory than it may have.
    """
    with suppress(TooCostlyError):
        async with aclosing(output_of(program, arguments, content, lines=True)) as lines:
            async for line in lines:
                value = json.loads(line)
                if value is True:
                    return
                if isinstance(value, dict):
                    message, reason = value["message"], value["reason"]
                    raise InvalidArgument(message, reason=reason, field="import.upload")
                yield value
    msg = "The file takes more time or memory than a file may; save it as CSV."
    raise InvalidArgument(msg, reason="FILE_TOO_COSTLY", field="import.upload")
