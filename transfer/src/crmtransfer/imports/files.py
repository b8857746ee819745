"""Files of any format as a header and rows, read again from the start as often as it takes."""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from crm.common.v1 import import_pb2
from crmkit.db import Database
from crmtransfer.imports import uploads
from crmtransfer.imports.csv_reader import CsvReader
from crmtransfer.imports.rows import FileRow, checked_row, header_of
from crmtransfer.sandboxed import answers_of


@dataclass
class File:
    """A file that was sent up, as an import reads it.

    Attributes:
        header: The columns; empty until the first row, or the end, has been read.
    """

    database: Database
    upload: UUID
    specification: import_pb2.Import
    header: list[str] = field(default_factory=list)

    async def rows(self) -> AsyncGenerator[FileRow, None]:
        """The rows; close it with `aclosing`. Raises InvalidArgument where the file cannot be read."""
        start = await uploads.start(self.database, self.upload)
        if start.startswith(uploads.ZIP):
            read = self._answers("xlsx_rows", "read", self.specification.sheet)
        else:
            read = self._csv()
        async with aclosing(read) as rows:
            async for row in rows:
                yield row

    async def _csv(self) -> AsyncGenerator[FileRow, None]:
        reader = CsvReader(self.specification.encoding)
        async for chunk in uploads.chunks(self.database, self.upload):
            for row in reader.feed(chunk):
                self.header = reader.header
                yield row
        for row in reader.finish():
            self.header = reader.header
            yield row
        self.header = reader.header

    async def _answers(self, program: str, *arguments: str) -> AsyncGenerator[FileRow, None]:
        content = uploads.chunks(self.database, self.upload)
        async with aclosing(answers_of(program, arguments, content)) as answers:
            async for value in answers:
                if isinstance(value[0], int):
                    number, cells = value
                    missing = len(self.header) - len(cells)
                    yield checked_row(number, [*cells, *[""] * missing], self.header)
                else:
                    self.header = header_of(value)
