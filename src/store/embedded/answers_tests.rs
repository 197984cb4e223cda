//! Tests of the cache's files: what a killed process, a damaged disk or a short one leaves.

use super::*;

const NOW: Millis = Millis(1_000_000);
const LATER: Millis = Millis(2_000_000);

fn new_dir() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("resullm-answers-{}", uuid::Uuid::new_v4()));
    fs::create_dir_all(&dir).unwrap();
    dir
}

fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).unwrap()
}

fn keep(answers: &AnswerFiles, at: &str, key: u8, text: &str, most: u64) {
    let item = Item {
        bytes: text.len() as u64,
        expires: LATER,
        owner: "p_one".to_owned(),
        value: Bytes::copy_from_slice(text.as_bytes()),
    };
    let key = AnswerKey::new([key; 32]);
    let kept = answers.keep(&tenant(at), key, item, (most, None), NOW);
    assert_eq!(kept, Ok(true));
}

fn read(answers: &AnswerFiles, at: &str, key: u8) -> Option<Bytes> {
    let key = AnswerKey::new([key; 32]);
    let (file, _) = answers.find(&tenant(at), &key, NOW).unwrap();
    let file = file?;
    answers.read(&file)
}

/// Paths of all files below `answers`.
fn files(dir: &Path) -> Vec<PathBuf> {
    let list = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).collect()
    };
    let folders = list(&dir.join("answers"));
    folders.iter().flat_map(|folder| list(folder)).collect()
}

#[test]
fn answers_and_their_order_outlive_the_process() {
    let dir = new_dir();
    let answers = AnswerFiles::open(&dir, NOW);
    keep(&answers, "abc", 1, "one", 10);
    keep(&answers, "abc", 2, "two", 10);
    keep(&answers, "abc", 1, "again", 10);
    keep(&answers, "other", 1, "theirs", 10);
    drop(answers);

    let answers = AnswerFiles::open(&dir, NOW);
    assert_eq!(read(&answers, "other", 1).unwrap(), "theirs");
    keep(&answers, "abc", 3, "third", 10);

    assert_eq!(read(&answers, "abc", 2), None);
    assert_eq!(read(&answers, "abc", 1).unwrap(), "again");
    assert_eq!(files(&dir).len(), 3);

    let answers = AnswerFiles::open(&dir, LATER);
    assert!(files(&dir).is_empty(), "what has expired is removed");
    assert!(answers.index.lock().shelves.is_empty());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn half_a_file_and_what_is_no_answer_are_removed() {
    let dir = new_dir();
    keep(&AnswerFiles::open(&dir, NOW), "abc", 1, "whole", 100);
    let file = files(&dir).remove(0);
    let bytes = fs::read(&file).unwrap();
    fs::write(file.with_added_extension("new"), &bytes[..4]).unwrap();
    fs::write(file.parent().unwrap().join("stray"), "x").unwrap();
    fs::create_dir_all(dir.join("answers/gone.7")).unwrap();
    fs::write(dir.join("answers/gone.7/x"), "x").unwrap();

    let answers = AnswerFiles::open(&dir, NOW);

    assert_eq!(files(&dir), std::slice::from_ref(&file));
    assert_eq!(read(&answers, "abc", 1).unwrap(), "whole");
    for damaged in [&bytes[..0], &bytes[..7], &bytes[..9]] {
        keep(&answers, "abc", 1, "whole", 100);
        fs::write(&files(&dir)[0], damaged).unwrap();
        assert_eq!(read(&answers, "abc", 1), None);
        assert!(files(&dir).is_empty());
    }
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn file_under_another_key_is_damage() {
    let dir = new_dir();
    let answers = AnswerFiles::open(&dir, NOW);
    keep(&answers, "abc", 1, "one", 100);
    let one = files(&dir).remove(0);
    keep(&answers, "abc", 2, "two", 100);
    let two = files(&dir).into_iter().find(|file| *file != one).unwrap();
    fs::copy(one, two).unwrap();

    assert_eq!(read(&answers, "abc", 2), None);

    assert_eq!(read(&answers, "abc", 1).unwrap(), "one");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn unreadable_directory_is_begun_anew() {
    let dir = new_dir();
    fs::write(dir.join("answers"), "a file").unwrap();

    let answers = AnswerFiles::open(&dir, NOW);

    keep(&answers, "abc", 1, "one", 100);
    assert_eq!(read(&answers, "abc", 1).unwrap(), "one");
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn forgotten_answers_are_off_the_disk_and_a_closed_cache_writes_nothing() {
    let dir = new_dir();
    let answers = AnswerFiles::open(&dir, NOW);
    for key in 1..=3 {
        keep(&answers, "abc", key, "text", 100);
        keep(&answers, "other", key, "text", 100);
    }
    assert_eq!(answers.forget_of(&tenant("abc"), "p_two", NOW), Ok(0));
    assert_eq!(answers.forget_of(&tenant("abc"), "p_one", NOW), Ok(3));
    assert_eq!(answers.forget(&tenant("other"), NOW), Ok(3));
    assert_eq!(answers.forget(&tenant("other"), NOW), Ok(0));
    assert!(files(&dir).is_empty());

    keep(&answers, "abc", 1, "text", 100);
    let key = AnswerKey::new([1; 32]);
    let (file, _) = answers.find(&tenant("abc"), &key, NOW).unwrap();
    let file = file.unwrap();
    answers.close();

    let unnamed = dir.join("answers/unnamed");
    fs::write(&unnamed, "x").unwrap();
    let named = dir.join("answers/named");
    let placed = answers.place((&unnamed, &named), file, (100, None), NOW);
    assert!(placed.is_err() && answers.find(&tenant("abc"), &key, NOW).is_err());
    assert!(!dir.join("answers/named").exists());
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn sweep_removes_what_nobody_asks_for_any_more() {
    let dir = new_dir();
    let answers = AnswerFiles::open(&dir, NOW);
    keep(&answers, "abc", 1, "text", 100);
    answers.sweep(Millis(LATER.0 - 1)).unwrap();
    assert_eq!(files(&dir).len(), 1);

    answers.sweep(LATER).unwrap();

    assert!(files(&dir).is_empty());
    fs::remove_dir_all(dir).unwrap();
}
