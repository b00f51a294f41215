//! What flows into the last linear layer, computed once for each view of a photo and read in every epoch: the method
//! `head`. Written by `prepare`, read by the loader from its threads.
//!
//! A row is the step between two values, then a whole number of steps for each, in 16 bits: half the room of single
//! precision, and wrong by a 65,534th of the row's largest value at most.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use crate::{
    TrainingError,
    inputs::{Inputs, View},
};

/// In the folder of the run.
const FILE: &str = "features16.bin";
/// The largest whole number of steps.
const STEPS: f32 = 32_767.0;

/// Whether a file in the folder of a run is made anew where it is missing, and so large that it should not be kept anywhere
/// else just to go on there.
#[must_use]
pub fn is_made_anew(name: &str) -> bool {
    name.starts_with(FILE)
}

/// Bytes of a row.
const fn row_bytes(size: usize) -> usize {
    4 + 2 * size
}

/// Which views of which photos have a row.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rows {
    places: HashMap<usize, Place>,
    all: Vec<(usize, View)>,
}

#[derive(Clone, Copy, Debug)]
struct Place {
    first: usize,
    /// Augmented views, before the plain one. Photos that are held out have none, and one through the domain after it.
    augmented: usize,
}

impl Rows {
    /// For photos that are trained on, `views` augmented ones and the plain one; for those held out the plain one, and the
    /// one through the domain.
    pub fn new(train: &[usize], held_out: impl Iterator<Item = usize>, views: usize) -> Self {
        let mut rows = Self::default();
        for &sample in train {
            let views = (0..views as u64).map(View::Training);
            rows.add(sample, &views.chain([View::Plain]).collect::<Vec<_>>());
        }
        held_out.for_each(|sample| rows.add(sample, &[View::Plain, View::Domain]));
        rows
    }

    fn add(&mut self, sample: usize, views: &[View]) {
        let augmented = views.iter().filter(|v| matches!(v, View::Training(_))).count();
        self.places.insert(sample, Place { first: self.all.len(), augmented });
        self.all.extend(views.iter().map(|v| (sample, *v)));
    }

    /// All of them, in the order of the file.
    pub fn all(&self) -> &[(usize, View)] {
        &self.all
    }

    fn of(&self, sample: usize, view: View) -> Option<usize> {
        let Place { first, augmented } = *self.places.get(&sample)?;
        match view {
            View::Training(epoch) => (epoch as usize).checked_rem(augmented).map(|view| first + view),
            View::Plain => Some(first + augmented),
            View::Domain => (augmented == 0).then_some(first + 1),
        }
    }
}

/// The file, whole.
pub(crate) struct Features {
    file: File,
    path: PathBuf,
    rows: Rows,
    size: usize,
}

impl Features {
    /// What is there, if it is; `size` values a row.
    pub fn open(folder: &Path, rows: Rows, size: usize) -> Option<Self> {
        let path = folder.join(FILE);
        let file = File::open(&path).ok()?;
        let whole = (rows.all.len() * row_bytes(size)) as u64;
        file.metadata().is_ok_and(|m| m.len() == whole).then_some(Self { file, path, rows, size })
    }
}

impl Inputs for Features {
    fn size(&self) -> usize {
        self.size
    }

    fn fill(&self, sample: usize, view: View, out: &mut [f32]) -> Result<(), TrainingError> {
        let row = self.rows.of(sample, view);
        let row = row.ok_or_else(|| TrainingError::run(&self.path, format!("no {view:?} of photo {sample}")))?;
        let length = row_bytes(self.size);
        let mut bytes = vec![0u8; length];
        let read = self.file.read_exact_at(&mut bytes, (row * length) as u64);
        read.map_err(|e| TrainingError::read(&self.path, e))?;
        let (step, values) = bytes.split_first_chunk::<4>().unwrap_or((&[0; 4], &[]));
        let step = f32::from_le_bytes(*step);
        for (v, b) in out.iter_mut().zip(values.as_chunks::<2>().0) {
            *v = f32::from(i16::from_le_bytes(*b)) * step;
        }
        Ok(())
    }
}

/// The file while it is written: it appears when it is whole.
pub(crate) struct Writer {
    file: File,
    path: PathBuf,
    size: usize,
    bytes: Vec<u8>,
}

impl Writer {
    /// Takes the room for all rows first: that there is none should not come out after minutes of work.
    ///
    /// # Errors
    /// [`TrainingError::NoRoom`], or a file that cannot be made.
    pub fn create(folder: &Path, rows: &Rows, size: usize) -> Result<Self, TrainingError> {
        let path = folder.join(FILE);
        let file = File::create(part(&path)).map_err(|e| TrainingError::write(&path, e))?;
        let writer = Self { file, path: path.clone(), size, bytes: Vec::new() };
        let needed = (rows.all.len() * row_bytes(size)) as u64;
        if is_full(&writer.file, needed) {
            return Err(TrainingError::NoRoom { path, needed });
        }
        Ok(writer)
    }

    /// The next rows.
    ///
    /// # Errors
    /// Values that are no numbers, a full disk.
    pub fn add(&mut self, rows: &[f32]) -> Result<(), TrainingError> {
        self.bytes.clear();
        for row in rows.chunks_exact(self.size) {
            let largest = row.iter().fold(0.0f32, |m, v| if v.is_finite() { m.max(v.abs()) } else { f32::INFINITY });
            if largest.is_infinite() {
                return Err(TrainingError::not_finite());
            }
            let step = largest / STEPS;
            let steps = if step > 0.0 { step.recip() } else { 0.0 };
            self.bytes.extend(step.to_le_bytes());
            let whole = row.iter().map(|v| (v * steps).round().clamp(-STEPS, STEPS) as i16);
            self.bytes.extend(whole.flat_map(i16::to_le_bytes));
        }
        self.file.write_all(&self.bytes).map_err(|e| TrainingError::write(&self.path, e))
    }

    /// All `rows` are there.
    ///
    /// # Errors
    /// A full disk, a file that cannot be read again.
    pub fn finish(self, rows: Rows) -> Result<Features, TrainingError> {
        let path = self.path.clone();
        let done = self.file.sync_all().and_then(|()| fs::rename(part(&path), &path));
        done.map_err(|e| TrainingError::write(&path, e))?;
        let file = File::open(&path).map_err(|e| TrainingError::read(&path, e))?;
        Ok(Features { file, path, rows, size: self.size })
    }
}

impl Drop for Writer {
    /// Half a file helps nobody, and takes room. A whole one has its own name by now.
    fn drop(&mut self) {
        drop(fs::remove_file(part(&self.path)));
    }
}

fn part(path: &Path) -> PathBuf {
    path.with_added_extension("part")
}

/// Whether there is no room for so many bytes; takes it where there is. Where a file system cannot tell, writing will.
#[cfg(target_os = "linux")]
fn is_full(file: &File, bytes: u64) -> bool {
    use rustix::{fs::FallocateFlags, io::Errno};
    let taken = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, bytes);
    matches!(taken, Err(Errno::NOSPC | Errno::DQUOT | Errno::FBIG))
}

#[cfg(not(target_os = "linux"))]
fn is_full(_: &File, _: u64) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: usize = 1_000;

    fn rows() -> Rows {
        Rows::new(&[4, 1], [7].into_iter(), 2)
    }

    /// Values of a row, of very different sizes from one to the next.
    fn values(row: usize) -> Vec<f32> {
        let largest = 10f32.powi(row as i32 * 7 - 20);
        (0..SIZE).map(|i| ((i * 37 + row) % 201) as f32 / 100.0 * largest - largest).collect()
    }

    fn written(folder: &Path) -> Features {
        let mut writer = Writer::create(folder, &rows(), SIZE).unwrap();
        assert!(Features::open(folder, rows(), SIZE).is_none(), "it is not whole yet");
        let all: Vec<f32> = (0..rows().all().len()).flat_map(values).collect();
        writer.add(&all[..3 * SIZE]).unwrap();
        writer.add(&all[3 * SIZE..]).unwrap();
        writer.finish(rows()).unwrap()
    }

    #[test]
    fn each_view_has_its_own_row_and_gives_back_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let written = written(folder.path());
        let again = Features::open(folder.path(), rows(), SIZE).unwrap();
        let views = [
            (4, View::Training(0), 0),
            (4, View::Training(5), 1),
            (4, View::Plain, 2),
            (1, View::Training(2), 3),
            (1, View::Plain, 5),
            (7, View::Plain, 6),
            (7, View::Domain, 7),
        ];
        for (sample, view, row) in views {
            let (mut read, expected) = (vec![f32::NAN; SIZE], values(row));
            written.fill(sample, view, &mut read).unwrap();
            let mut reread = vec![f32::NAN; SIZE];
            again.fill(sample, view, &mut reread).unwrap();
            assert_eq!(read, reread);
            let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let worst = read.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst <= largest / 65_000.0, "{sample} {view:?}: {worst} of {largest}");
        }
        for (sample, view) in [(4, View::Domain), (7, View::Training(0)), (2, View::Plain)] {
            let told = again.fill(sample, view, &mut [0.0; SIZE]).unwrap_err().to_string();
            assert!(told.contains(&format!("photo {sample}")), "{told}");
        }
        let bytes = fs::metadata(folder.path().join(FILE)).unwrap().len();
        assert_eq!(bytes, 8 * (2 * 1_000 + 4));
        assert!(Features::open(folder.path(), rows(), SIZE + 1).is_none(), "of another network");
    }

    #[test]
    fn nothing_but_numbers_is_kept_and_zeros_stay_zeros() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::create(folder.path(), &rows(), 2).unwrap();
        writer.add(&[0.0, 0.0]).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let told = writer.add(&[1.0, bad]).unwrap_err().to_string();
            assert!(told.contains("no finite numbers"), "{told}");
        }
    }

    #[test]
    fn where_there_is_no_room_it_is_said_before_anything_is_computed() {
        let Some(disk) = testkit::SmallDisk::mount_or_skip(2) else { return };
        let told = Writer::create(disk.path(), &rows(), 200_000).err().expect("no room").to_string();
        assert!(told.contains("3 MB") && told.contains("head.views"), "{told}");
        assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 0, "what was begun is gone");
        Writer::create(disk.path(), &rows(), 20_000).unwrap();
    }
}
