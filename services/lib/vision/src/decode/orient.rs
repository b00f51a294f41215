//! EXIF orientation: what it does to a size and to pixels. Used by `decode` after the format's own reader.

use crate::Rgb8;

/// How stored pixels must be turned to stand upright (EXIF values 1 to 8).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Orientation {
    /// 1: as stored.
    #[default]
    Upright,
    /// 2: mirrored left to right.
    MirrorHorizontal,
    /// 3: turned by 180°.
    Rotate180,
    /// 4: mirrored top to bottom.
    MirrorVertical,
    /// 5: mirrored along the main diagonal.
    Transpose,
    /// 6: to be turned 90° clockwise.
    Rotate90,
    /// 7: mirrored along the other diagonal.
    Transverse,
    /// 8: to be turned 90° counter-clockwise.
    Rotate270,
}

impl Orientation {
    const ALL: [Self; 8] = [
        Self::Upright,
        Self::MirrorHorizontal,
        Self::Rotate180,
        Self::MirrorVertical,
        Self::Transpose,
        Self::Rotate90,
        Self::Transverse,
        Self::Rotate270,
    ];

    /// From the EXIF value; `None` outside 1 to 8.
    #[must_use]
    pub fn from_exif(value: u32) -> Option<Self> {
        Self::ALL.get(usize::try_from(value.checked_sub(1)?).ok()?).copied()
    }

    /// The EXIF value, 1 to 8.
    #[must_use]
    pub fn exif(self) -> u8 {
        self as u8 + 1
    }

    /// Whether width and height change places.
    #[must_use]
    pub fn swaps_sides(self) -> bool {
        matches!(self, Self::Transpose | Self::Rotate90 | Self::Transverse | Self::Rotate270)
    }

    /// Size of the upright picture.
    #[must_use]
    pub fn upright_size(self, width: u32, height: u32) -> (u32, u32) {
        if self.swaps_sides() { (height, width) } else { (width, height) }
    }

    /// The upright picture. Costs a second copy of the pixels for all but [`Orientation::Upright`].
    #[must_use]
    pub fn apply(self, stored: Rgb8) -> Rgb8 {
        if self == Self::Upright {
            return stored;
        }
        let (w, h) = (stored.width() as usize, stored.height() as usize);
        let (out_w, out_h) = self.upright_size(stored.width(), stored.height());
        let source = stored.data();
        let mut out = Rgb8::filled(out_w, out_h, [0; 3]);
        // Blocks keep both the rows read and the rows written in cache when the sides change places.
        const BLOCK: usize = 32;
        let (ow, oh) = (out_w as usize, out_h as usize);
        let target = out.data_mut();
        for y0 in (0..oh).step_by(BLOCK) {
            for x0 in (0..ow).step_by(BLOCK) {
                for y in y0..(y0 + BLOCK).min(oh) {
                    for x in x0..(x0 + BLOCK).min(ow) {
                        let (sx, sy) = self.source(x, y, w, h);
                        let (to, from) = ((y * ow + x) * 3, (sy * w + sx) * 3);
                        target[to..to + 3].copy_from_slice(&source[from..from + 3]);
                    }
                }
            }
        }
        out
    }

    /// Stored pixel that stands at (x, y) of the upright picture; `w` and `h` are the stored sides.
    fn source(self, x: usize, y: usize, w: usize, h: usize) -> (usize, usize) {
        match self {
            Self::Upright => (x, y),
            Self::MirrorHorizontal => (w - 1 - x, y),
            Self::Rotate180 => (w - 1 - x, h - 1 - y),
            Self::MirrorVertical => (x, h - 1 - y),
            Self::Transpose => (y, x),
            Self::Rotate90 => (y, h - 1 - x),
            Self::Transverse => (w - 1 - y, h - 1 - x),
            Self::Rotate270 => (w - 1 - y, x),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3×2 picture whose pixels carry the letters of `text`.
    fn picture(width: u32, height: u32, text: &str) -> Rgb8 {
        Rgb8::new(width, height, text.bytes().flat_map(|b| [b, b, b]).collect()).unwrap()
    }

    fn letters(image: &Rgb8) -> String {
        image.data().chunks_exact(3).map(|p| char::from(p[0])).collect()
    }

    #[test]
    fn every_value_turns_the_stored_picture_upright() {
        // Stored so that undoing the orientation gives "abc" over "def".
        let stored = [
            (1, 3, "abcdef"),
            (2, 3, "cbafed"),
            (3, 3, "fedcba"),
            (4, 3, "defabc"),
            (5, 2, "adbecf"),
            (6, 2, "cfbead"),
            (7, 2, "fcebda"),
            (8, 2, "daebfc"),
        ];
        for (value, width, text) in stored {
            let orientation = Orientation::from_exif(value).unwrap();
            let upright = orientation.apply(picture(width, 6 / width, text));
            assert_eq!((upright.width(), upright.height()), (3, 2), "{value}");
            assert_eq!(letters(&upright), "abcdef", "{value}");
        }
        assert_eq!(Orientation::from_exif(0), None);
        assert_eq!(Orientation::from_exif(9), None);
    }
}
