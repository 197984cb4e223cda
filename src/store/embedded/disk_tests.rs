//! Tests that acknowledged changes survive every kind of shutdown.

use super::*;
use redb::TableDefinition;

const THINGS: TableDefinition<&str, &[u8]> = TableDefinition::new("things");
const PROGRESS: TableDefinition<(), u64> = TableDefinition::new("progress");

fn new_dir() -> std::path::PathBuf {
    std::env::temp_dir().join(format!("resullm-disk-{}", uuid::Uuid::new_v4()))
}

fn text_of(disk: &Disk, name: &str) -> String {
    disk.read(name).unwrap().unwrap().text.clone()
}

/// Encodes a record of `user:b` as the journal of an earlier version has it.
fn earlier(sequence: u64, text: &str) -> Vec<u8> {
    let mut record = vec![0; 12];
    record.extend_from_slice(&sequence.to_le_bytes());
    record.extend_from_slice(&6u16.to_le_bytes());
    record.extend_from_slice(b"user:b");
    record.extend_from_slice(format!(r#"{{"text":"{text}"}}"#).as_bytes());
    let length = record.len() as u32;
    record[..4].copy_from_slice(&length.to_le_bytes());
    let sum = record[12..]
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| {
            (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    record[4..12].copy_from_slice(&sum.to_le_bytes());
    record
}

#[test]
fn a_store_of_an_earlier_version_is_read_and_sealed() {
    let dir = new_dir();
    std::fs::create_dir_all(&dir).unwrap();
    let old = Database::create(database::file(&dir)).unwrap();
    let transaction = old.begin_write().unwrap();
    {
        let mut things = transaction.open_table(THINGS).unwrap();
        things
            .insert("user:a", br#"{"text":"one"}"#.as_slice())
            .unwrap();
        things
            .insert("user:b", br#"{"text":"two"}"#.as_slice())
            .unwrap();
        let mut progress = transaction.open_table(PROGRESS).unwrap();
        progress.insert((), 7).unwrap();
    }
    transaction.commit().unwrap();
    drop(old);
    // Two journal records: one that the database has, and a later one.
    let records = [earlier(7, "old"), earlier(9, "three")].concat();
    std::fs::write(dir.join("journal.1"), records).unwrap();
    for _ in 0..2 {
        let disk = Disk::open(&dir).unwrap();
        assert_eq!(text_of(&disk, "user:a"), "one");
        assert_eq!(text_of(&disk, "user:b"), "three");
        assert!(!dir.join("journal.1").exists());
        disk.release();
    }
    // The store is in the new format now: a value without a checksum is damage.
    let new = Database::create(database::file(&dir)).unwrap();
    let transaction = new.begin_write().unwrap();
    let mut things = transaction.open_table(THINGS).unwrap();
    things
        .insert("user:a", br#"{"text":"one"}"#.as_slice())
        .unwrap();
    drop(things);
    transaction.commit().unwrap();
    drop(new);
    let refused = Disk::open(&dir).err().unwrap();
    let id = name::id("user:a");
    assert!(
        refused.contains(&id) && !refused.contains("user:a"),
        "{refused}"
    );
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn earlier_journal_of_a_sealed_store_is_read() {
    let dir = new_dir();
    Disk::open(&dir).unwrap().release();
    std::fs::write(dir.join("journal.0"), earlier(9, "three")).unwrap();
    let disk = Disk::open(&dir).unwrap();
    assert_eq!(text_of(&disk, "user:b"), "three");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn database_is_reopened_with_all_data_after_a_failed_write() {
    let dir = new_dir();
    let disk = Disk::open(&dir).unwrap();
    let set = |text: &str| {
        let next = Next::set(Stored::text(text));
        disk.change("user:a", ChangeKind::Begins, |_| Ok(((), next)))
            .unwrap();
    };
    for (text, mut stuck) in [("one", false), ("two", true)] {
        set(text);
        let mut batch = Batch::default();
        disk.gather(&mut batch);
        disk.flush(&batch, Millis(0), &mut stuck).unwrap();
        assert!(!stuck);
    }
    disk.memory().things.clear();
    assert_eq!(text_of(&disk, "user:a"), "two");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn settlements_go_on_while_the_disk_is_full() {
    let dir = new_dir();
    let disk = Disk::open(&dir).unwrap();
    assert!(dir.join("reserve").exists());
    disk.set_trouble(Trouble::Full);
    assert!(!dir.join("reserve").exists());
    let change = |kind| {
        let next = Next::set(Stored::text("one"));
        disk.change("user:a", kind, |_| Ok(((), next))).err()
    };
    assert_eq!(change(ChangeKind::Begins), Some(StoreError::Full));
    assert_eq!(disk.ready(), Err(StoreError::Full));
    assert_eq!(disk.put_aside("usage:a:1", None), Err(StoreError::Full));
    assert_eq!(change(ChangeKind::Ends), None);
    disk.recover();
    assert!(dir.join("reserve").exists());
    assert_eq!((disk.ready(), change(ChangeKind::Begins)), (Ok(()), None));
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_database_that_has_gone_back_in_time_is_refused() {
    let dir = new_dir();
    let disk = Disk::open(&dir).unwrap();
    drop(disk);
    let old = std::fs::read(database::file(&dir)).unwrap();
    let disk = Disk::open(&dir).unwrap();
    disk.change("user:a", ChangeKind::Begins, |_| {
        Ok(((), Next::set(Stored::text("one"))))
    })
    .unwrap();
    disk.stop();
    disk.flush_until_stopped(|| Millis(0));
    drop(disk);
    std::fs::write(database::file(&dir), old).unwrap();
    let refused = Disk::open(&dir).err().unwrap();
    assert!(refused.contains("it has 0 changes and had 1"), "{refused}");
    std::fs::remove_dir_all(dir).unwrap();
}
