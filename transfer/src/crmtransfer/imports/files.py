"""Files of any format as a header and rows, read again from the start as often as it takes."""

import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from uuid import UUID

from crm.common.v1 import import_pb2
from crmkit import contract
from crmkit.db import Database
from crmtransfer.imports import uploads
from crmtransfer.imports.csv_reader import CsvReader
from crmtransfer.imports.rows import FileRow, checked_row, header_of, unreadable
from crmtransfer.sandboxed import answers_of

_START_BYTES = 200
_CARD = re.compile(
    rb"^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?\s*B\0?E\0?G\0?I\0?N\0?\s*:\0?\s*V\0?C\0?A\0?R\0?D",
    re.IGNORECASE,
)


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
        elif _CARD.search(start[:_START_BYTES]):
            self._require_persons()
            read = self._answers("vcard_rows", self.specification.encoding)
        else:
            read = self._csv()
        async with aclosing(read) as rows:
            async for row in rows:
                yield row

    def _require_persons(self) -> None:
        fields = contract.collections()[
            self.specification.resource
        ].message.DESCRIPTOR.fields_by_name
        if "given_name" not in fields:
            msg = f"A vCard is a person; {self.specification.resource} are none."
            raise unreadable(reason="WRONG_FILE", message=msg)

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
                    number, cells, problem = value
                    missing = len(self.header) - len(cells)
                    full = [*cells, *[""] * missing]
                    yield (
                        FileRow(number, full, problem)
                        if problem
                        else checked_row(number, full, self.header)
                    )
                else:
                    self.header = header_of(value)
