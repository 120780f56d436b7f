"""Screenshots for the docs: PNG files with a palette, which are a third as large and look the same."""

from __future__ import annotations

import base64
import zlib
from pathlib import Path
from struct import pack
from typing import NamedTuple

from playwright.sync_api import Page

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_INDEXED = 3  # PNG's colour type of pixels that are numbers of colours

# The browser knows how to read its own PNG, and counts colours in a moment. Beyond 256 the rarest, which are the edges
# of letters, become the nearest of the others.
_TO_PALETTE = """
async (png) => {
  const bitmap = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
  const { width, height } = bitmap;
  const brush = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  brush.drawImage(bitmap, 0, 0);
  const { data } = brush.getImageData(0, 0, width, height);
  const colour = (at) => (data[at] << 16) | (data[at + 1] << 8) | data[at + 2];
  const counts = new Map();
  for (let at = 0; at < data.length; at += 4) counts.set(colour(at), (counts.get(colour(at)) ?? 0) + 1);
  const palette = [...counts].sort((one, two) => two[1] - one[1]).slice(0, 256).map(([one]) => one);
  const parts = (one) => [one >> 16, (one >> 8) & 255, one & 255];
  const far = (one, two) => parts(one).reduce((sum, part, i) => sum + (part - parts(two)[i]) ** 2, 0);
  const nearest = (one) => palette.reduce((best, other, i) => (far(one, other) < far(one, palette[best]) ? i : best), 0);
  const places = new Map(palette.map((one, i) => [one, i]));
  for (const one of counts.keys()) if (!places.has(one)) places.set(one, nearest(one));
  const pixels = new Uint8Array(width * height);
  for (let at = 0; at < data.length; at += 4) pixels[at / 4] = places.get(colour(at));
  let text = "";
  for (let at = 0; at < pixels.length; at += 8192) text += String.fromCharCode(...pixels.subarray(at, at + 8192));
  return { width, height, palette: palette.flatMap(parts), pixels: btoa(text) };
}
"""


class Picture(NamedTuple):
    """A picture whose pixels are numbers of colours, three bytes each."""

    width: int
    height: int
    palette: bytes
    pixels: bytes

    def png(self) -> bytes:
        rows = (self.pixels[start : start + self.width] for start in range(0, len(self.pixels), self.width))
        unfiltered = b"".join(b"\0" + row for row in rows)
        return (
            _SIGNATURE
            + _chunk(b"IHDR", pack(">IIBBBBB", self.width, self.height, 8, _INDEXED, 0, 0, 0))
            + _chunk(b"PLTE", self.palette)
            + _chunk(b"IDAT", zlib.compress(unfiltered, 9))
            + _chunk(b"IEND", b"")
        )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return pack(">I", len(content)) + kind + content + pack(">I", zlib.crc32(kind + content))


def with_palette(png: bytes, page: Page) -> Picture:
    """The picture in at most 256 colours, as a blank page of this page's browser reads it."""
    assert page.context.browser is not None
    blank = page.context.browser.new_page()
    try:
        read = blank.evaluate(_TO_PALETTE, base64.b64encode(png).decode())
    finally:
        blank.close()
    return Picture(read["width"], read["height"], bytes(read["palette"]), base64.b64decode(read["pixels"]))


def take_picture(page: Page, file: Path, *, full_page: bool = False) -> None:
    page.mouse.move(0, 0)
    file.write_bytes(with_palette(page.screenshot(full_page=full_page), page).png())


def take_both(page: Page, file: Path) -> None:
    """The page in light and, in a file beside it, in dark: overview.png and overview-dark.png."""
    for scheme, path in (("dark", file.with_stem(f"{file.stem}-dark")), ("light", file)):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        take_picture(page, path)
