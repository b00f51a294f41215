//! What is made stays, what was cut by a kill is made again, and a photo that changed is not taken for the one before.

use super::*;

fn picture(n: u8) -> Rgb8 {
    Rgb8::filled(112, 112, [n, n, 200])
}

fn folder_of(people: &[(&str, u8)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (person, photos) in people {
        fs::create_dir(folder.path().join(person)).unwrap();
        for i in 0..*photos {
            let png = vision::encode_png(&picture(i * 10)).unwrap();
            fs::write(folder.path().join(person).join(format!("{i}.png")), png).unwrap();
        }
    }
    folder
}

async fn collected(data: &Path, out: &Path) -> Vec<Entry> {
    let config = runtime::config::load(&runtime::Sources::default()).unwrap().config;
    collect(&config, data, out, true, &CancellationToken::new()).await.unwrap().unwrap().entries
}

#[tokio::test]
async fn a_cut_file_goes_on_where_it_was_whole() {
    let data = folder_of(&[("ada", 3), ("bo", 20)]);
    fs::write(data.path().join("ada/2.png"), "no picture").unwrap();
    let out = tempfile::tempdir().unwrap();
    let whole = collected(data.path(), out.path()).await;
    assert_eq!(whole.len(), 23);
    assert!(whole[2].failed.is_some() && whole.iter().filter(|e| e.failed.is_some()).count() == 1);
    let files = ["crops.bin", "crops.jsonl"].map(|f| out.path().join(f));
    let bytes = files.each_ref().map(|f| fs::read(f).unwrap());
    assert_eq!(bytes[0].len(), 22 * 112 * 112 * 3);
    for keep in [0, 100, bytes[1].len() / 2, bytes[1].len() - 1] {
        fs::write(&files[1], &bytes[1][..keep]).unwrap();
        assert_eq!(collected(data.path(), out.path()).await, whole);
        assert!(fs::read(&files[0]).unwrap() == bytes[0] && fs::read(&files[1]).unwrap() == bytes[1], "{keep}");
    }
    // Pixels that never reached the disk are made again.
    fs::write(&files[0], &bytes[0][..5 * 112 * 112 * 3 + 7]).unwrap();
    assert_eq!(collected(data.path(), out.path()).await, whole);
    assert!(fs::read(&files[0]).unwrap() == bytes[0]);
    // Another photo under the same name.
    fs::write(data.path().join("bo/1.png"), vision::encode_png(&picture(99)).unwrap()).unwrap();
    let changed = collected(data.path(), out.path()).await;
    assert_ne!(changed[4].sha256, whole[4].sha256);
    assert_eq!((&changed[3], changed.len()), (&whole[3], 23));
}
