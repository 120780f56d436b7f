"""Files of keys on their way in: in memory, on no disk, and their memory is given back the moment they are closed."""

from __future__ import annotations

import os
import tempfile
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

MOST_BYTES = 20 * 1024 * 1024


def memory_file() -> IO[bytes]:
    """A file without a name. What the allocator gets back from a large buffer it may keep; the kernel keeps nothing.

    Only Linux has such files; elsewhere it is a temporary one, deleted before the first byte is written.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("upload"), "w+b")
    return tempfile.TemporaryFile()


class InMemory(FileUploadHandler):
    """Keeps a form's file. Django's own handlers choose between the heap and the disk."""

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        self._file = memory_file()

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self._file.write(raw_data)

    def file_complete(self, file_size: int) -> UploadedFile:
        self._file.seek(0)
        return UploadedFile(
            self._file, self.file_name, self.content_type, file_size, self.charset, self.content_type_extra
        )

    def upload_interrupted(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
