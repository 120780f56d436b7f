"""Uploaded files of keys, kept in memory and never on disk. Their memory is freed the moment they are closed."""

from __future__ import annotations

import os
import tempfile
from typing import IO, Any

from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler

MOST_BYTES = 20 * 1024 * 1024


def memory_file() -> IO[bytes]:
    """An anonymous file in memory: unlike a heap allocator, the kernel takes the memory back at once.

    Only Linux has these. Elsewhere it is a temporary file, unlinked before the first byte is written.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("upload"), "w+b")
    return tempfile.TemporaryFile()


class InMemory(FileUploadHandler):
    """Keeps a form's file in such a file. Django's own handlers use the heap or the disk."""

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
