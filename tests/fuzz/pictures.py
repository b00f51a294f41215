"""Small pictures of every kind that the decoders know, into a folder. Called by tests/fuzz/run; needs Pillow."""

import io
import struct
import sys
from pathlib import Path

from PIL import Image

FOLDER = Path(sys.argv[1])
FOLDER.mkdir(parents=True, exist_ok=True)


def picture(mode, size=(17, 13)):
    """A gradient: something for the entropy coders to do."""
    made = Image.new("RGB", size)
    made.putdata([(x * 15 % 256, y * 19 % 256, (x * y) % 256) for y in range(size[1]) for x in range(size[0])])
    return made.convert(mode)


def exif(orientation):
    """A TIFF block with the orientation alone."""
    return b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0" + struct.pack("<HH", orientation, 0) + b"\0\0\0\0"


def save(name, made, kind, **options):
    out = io.BytesIO()
    made.save(out, kind, **options)
    (FOLDER / name).write_bytes(out.getvalue())


for mode in ["RGB", "L", "CMYK"]:
    save(f"{mode}.jpg", picture(mode), "JPEG", quality=60)
save("progressive.jpg", picture("RGB", (40, 24)), "JPEG", progressive=True, quality=50)
save("sampled.jpg", picture("RGB", (40, 24)), "JPEG", subsampling=2, restart_marker_blocks=1)
save("turned.jpg", picture("RGB"), "JPEG", exif=exif(6))
for mode in ["RGB", "RGBA", "L", "LA", "P", "1", "I;16"]:
    made = picture("L").point(lambda v: v * 256, "I;16") if mode == "I;16" else picture(mode)
    save(f"{mode.replace(';', '')}.png", made, "PNG")
save("turned.png", picture("RGB"), "PNG", exif=exif(8)[6:])
save("see_through.png", picture("P"), "PNG", transparency=3)
save("lossy.webp", picture("RGB"), "WEBP", quality=40)
save("lossless.webp", picture("RGB"), "WEBP", lossless=True)
save("alpha.webp", picture("RGBA"), "WEBP", quality=40)
save("turned.webp", picture("RGB"), "WEBP", exif=exif(3)[6:])
