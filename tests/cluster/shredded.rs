//! Crypto-shredding, from the side of a thief: with the key-encryption key of the day in hand, and everything that the
//! installation has left on any disk, nothing opens of whom was erased: no record, no snapshot, no crop, no copy of either
//! that was made before. What is tried after the erasure opened everything before it.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use domain::{CollectionId, Lane, SubjectId, TenantId};
use memchr::memmem;
use queue::{Queue, RedisEngine, RedisOptions as QueueOptions, SealedEngine};
use seal::{DataKey, Keyring, OVERHEAD, context};
use serde_json::json;
use store::{Pepper, RedisStore, RedisStoreOptions, Space, Store};
use testkit::{Client, Cluster, ClusterOptions, Person, Picture, RedisOptions, enrolment};
use tokio::task::block_in_place;

use crate::{ALONE, decision, evidence::done, inside};

const NAME: &str = "zq4-subject-to-be-shredded";
/// Id and secret of a data key, and what sealing adds.
const WRAPPED: usize = 8 + 32 + OVERHEAD;

fn files(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// Who has the key-encryption key, and can read every disk.
struct Thief {
    keyring: Arc<Keyring>,
    folders: Vec<PathBuf>,
    space: Space,
    handle: String,
}

/// What is hers, as it lay sealed at some moment: its bytes, by what each is bound to.
#[derive(Default)]
struct Loot {
    records: BTreeMap<Vec<u8>, Vec<u8>>,
    objects: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Thief {
    async fn new(cluster: &Cluster, objects: &Path) -> Self {
        let (tenant, collection): (TenantId, CollectionId) =
            ("default".parse().expect("an id"), "staff".parse().expect("an id"));
        let pepper = Pepper::load(&*inside::store(cluster).await).await.expect("a pepper");
        let subject: SubjectId = NAME.parse().expect("an id");
        Self {
            keyring: inside::keyring(),
            folders: vec![cluster.redis().data_dir().to_owned(), cluster.folder().to_owned(), objects.to_owned()],
            space: Space::collection(&tenant, &collection),
            handle: pepper.handle(&tenant, &collection, &subject).to_string(),
        }
    }

    fn files(&self) -> Vec<PathBuf> {
        self.folders.iter().flat_map(|folder| files(folder)).collect()
    }

    /// Every data key that lies wrapped in any file and is bound to what `what` says.
    fn keys(&self, what: &[u8]) -> Vec<DataKey> {
        let id = hex::decode(self.keyring.active().to_string()).expect("hexadecimal");
        let mark = [&[1], &id[..]].concat();
        let mut found = Vec::new();
        for file in self.files() {
            let bytes = fs::read(&file).unwrap_or_default();
            let places = memmem::find_iter(&bytes, &mark).filter_map(|at| bytes.get(at..at + WRAPPED));
            found.extend(places.filter_map(|wrapped| self.keyring.unwrap(wrapped, what).ok()));
        }
        found
    }

    /// The keys that could ever have sealed something of hers: her own, and the collection's.
    fn all_keys(&self) -> Vec<DataKey> {
        let bound = |name: String| context(&["record", self.space.as_str(), &name]);
        [format!("~key/{}", self.handle), "~key".to_owned()]
            .into_iter()
            .flat_map(|name| self.keys(&bound(name)))
            .collect()
    }

    /// Her records and objects as they lie there now.
    async fn loot(&self, cluster: &Cluster, objects: &Path) -> Loot {
        let raw = RedisStore::open(inside::link(cluster), RedisStoreOptions::default()).await.expect("a store");
        let page = raw.scan(&self.space, "", None, 10_000).await.expect("records");
        let hers = page.records.into_iter().filter(|(key, _)| key.contains(&self.handle) && !key.starts_with("~key"));
        let records =
            hers.map(|(key, record)| (context(&["record", self.space.as_str(), &key]), record.value.to_vec()));
        let hers = files(objects).into_iter().filter(|f| f.to_string_lossy().contains(&self.handle));
        let bound = |file: &PathBuf| {
            let name = file.strip_prefix(objects).expect("below").to_string_lossy().into_owned();
            let parts: Vec<&str> = name.strip_prefix("crops/").expect("a crop").split('/').collect();
            context(&[&["crop"], &parts[..]].concat())
        };
        let objects = hers.map(|file| (bound(&file), fs::read(&file).expect("an object"))).collect();
        Loot { records: records.collect(), objects }
    }

    /// How many of the records and objects open, and the plain text of all of them.
    fn open(&self, loot: &Loot) -> (usize, usize, Vec<Vec<u8>>) {
        let keys = self.all_keys();
        let opens = |what: &[u8], sealed: &[u8], keys: &[DataKey]| keys.iter().find_map(|k| k.open(what, sealed).ok());
        let records: Vec<_> = loot.records.iter().filter_map(|(what, sealed)| opens(what, sealed, &keys)).collect();
        // The key of a crop stands in its record.
        let key = |record: &Vec<u8>| {
            let record: serde_json::Value = serde_json::from_slice(record).ok()?;
            DataKey::from_bytes(&hex::decode(record["key"].as_str()?).ok()?).ok()
        };
        let keys: Vec<DataKey> = keys.iter().cloned().chain(records.iter().filter_map(key)).collect();
        let objects: Vec<_> = loot.objects.iter().filter_map(|(what, sealed)| opens(what, sealed, &keys)).collect();
        (records.len(), objects.len(), [records, objects].concat())
    }

    /// Everything at all that still opens, opened: every record of every space, and every snapshot.
    async fn everything(&self, cluster: &Cluster) -> Vec<Vec<u8>> {
        let (store, mut plain) = (inside::store(cluster).await, Vec::new());
        for space in store.spaces().await.expect("spaces") {
            let page = store.scan(&space, "", None, 10_000).await.expect("records that open");
            plain.extend(page.records.into_iter().map(|(_, record)| record.value.to_vec()));
        }
        let snapshots = self.files().into_iter().filter(|f| f.parent().is_some_and(|p| p.ends_with("snapshots")));
        for file in snapshots {
            let (bytes, name) =
                (fs::read(&file).expect("a snapshot"), file.file_stem().expect("a name").to_string_lossy());
            let mut text = Vec::new();
            let mut reader = self.keyring.open_file(&bytes[8..], &context(&["snapshot", &name])).expect("its key");
            std::io::Read::read_to_end(&mut reader, &mut text).expect("it opens");
            plain.push(text);
        }
        plain
    }
}

fn holds(plain: &[Vec<u8>], secret: &[u8]) -> bool {
    plain.iter().any(|text| memmem::find(text, secret).is_some())
}

async fn enrol(client: &Client, subject: &str, photo: &Bytes) {
    let mut body = enrolment(subject, std::slice::from_ref(photo));
    body["consent"]["training_allowed"] = json!(true);
    drop(client.post("/v1/collections/staff/subjects", &body).await.expect(201));
}

/// The worker writes its snapshot when it ends.
fn write_snapshot(cluster: &mut Cluster) {
    cluster.worker(0).terminate();
    assert_eq!(block_in_place(|| cluster.worker_mut(0).wait()), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_the_day_opens_nothing_of_whom_was_erased() {
    let _alone = ALONE.lock().await;
    let folder = tempfile::tempdir().expect("a folder");
    let objects = folder.path().join("objects");
    // Uncompressed, so that what lies in its files lies there in one piece.
    let redis =
        RedisOptions { arguments: ["--rdbcompression", "no"].map(str::to_owned).to_vec(), ..RedisOptions::default() };
    let environment = vec![("VISAVIS__OBJECTS__URL".to_owned(), objects.display().to_string())];
    let options =
        ClusterOptions { gateways: 1, workers: 1, nginx: false, redis, environment, ..ClusterOptions::default() };
    let mut cluster = Cluster::start(options);
    let client = cluster.client();
    let new = json!({"id": "staff", "purposes": ["access_control"], "retain_crops": "training"});
    drop(client.post("/v1/collections", &new).await.expect(201));
    let (hers, his) = [Person::Astronaut, Person::Biden].map(|p| Picture::decode(&p.photo()).at_most(300).png()).into();
    enrol(&client, NAME, &hers).await;
    enrol(&client, "kept", &his).await;
    assert_eq!(decision(&client.identify("staff", &hers).await.ok()), ("match", NAME));
    write_snapshot(&mut cluster);

    let thief = Thief::new(&cluster, &objects).await;
    let loot = thief.loot(&cluster, &objects).await;
    assert!(loot.records.len() >= 6 && loot.objects.len() == 1, "{}, {}", loot.records.len(), loot.objects.len());
    let (records, crops, plain) = thief.open(&loot);
    assert_eq!((records, crops), (loot.records.len(), 1), "before, everything of hers opens");
    assert!(holds(&plain, NAME.as_bytes()) && holds(&plain, b"\x89PNG"));
    assert!(holds(&thief.everything(&cluster).await, NAME.as_bytes()), "in the records, and the snapshot");
    let template = loot.records.keys().find(|what| memmem::find(what, b"v/").is_some()).expect("a template");
    let template =
        thief.all_keys().iter().find_map(|k| k.open(template, &loot.records[template]).ok()).expect("it opens");
    assert!(holds(&thief.everything(&cluster).await, &template[16..48]), "its values");

    block_in_place(|| cluster.worker_mut(0).restart());
    let body = json!({"collection_id": "staff", "subject_ids": [NAME]});
    let erasure = client.post("/v1/erasures", &body).await.expect(202).header("location").to_owned();
    let told = done(&client, &erasure).await;
    assert_eq!((&told["removed"]["subjects"], &told["removed"]["faces"]), (&json!(1), &json!(1)), "{told}");
    assert_eq!(decision(&client.identify("staff", &his).await.ok()), ("match", "kept"));
    write_snapshot(&mut cluster);

    let (records, crops, _) = thief.open(&loot);
    assert_eq!((records, crops), (0, 0), "copies that were made before open with what is left");
    let own = context(&["record", thief.space.as_str(), &format!("~key/{}", thief.handle)]);
    assert!(thief.keys(&own).is_empty(), "her key still lies somewhere");
    let left = thief.loot(&cluster, &objects).await;
    assert!(left.objects.is_empty(), "her crop still lies there");
    // The trace of the erasure, which is sealed with the collection's key and says when it was.
    assert!(left.records.len() <= 1, "{} records", left.records.len());
    let plain = thief.everything(&cluster).await;
    assert!(!holds(&plain, NAME.as_bytes()) && !holds(&plain, &template[16..48]), "what opens still tells of her");
    assert!(holds(&plain, b"kept"), "and yet it was opened");
    let engine = Arc::new(RedisEngine::new(inside::link(&cluster), QueueOptions::default()));
    let queue = Queue::new(Arc::new(SealedEngine::new(engine, &thief.keyring).expect("a key")));
    for lane in Lane::ALL {
        let depth = queue.depth(lane).await.expect("a depth");
        assert_eq!((depth.waiting, depth.in_flight), (0, 0), "jobs");
        assert!(queue.dead_letters(lane, 10).await.expect("dead letters").is_empty());
    }
}
