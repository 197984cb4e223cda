//! A disk that is full or cannot be written, under load.

use super::GRANT;
use crate::faults::{case, many};
use crate::harness::{
    Client, Gate, Gateway, Provider, Script, Setup, SmallDisk, Step, balance, chat, chat_streaming,
    eventually, free_port, mint, sample,
};
use crate::money::crash::kill_and_compare;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

const COST: u64 = 7;
const CLIENTS: usize = 4;

/// Clients that call in a loop, each with its own key.
struct Load {
    stop: Arc<AtomicBool>,
    answered: Vec<Arc<AtomicU64>>,
    refused: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Load {
    fn start(gateway: &Gateway, keys: &[String]) -> Load {
        let stop: Arc<AtomicBool> = Arc::default();
        let refused: Arc<AtomicU64> = Arc::default();
        let answered: Vec<Arc<AtomicU64>> = keys.iter().map(|_| Arc::default()).collect();
        let threads = keys.iter().zip(&answered).map(|(key, answered)| {
            let (client, key) = (gateway.client(), key.clone());
            let (stop, answered, refused) = (stop.clone(), answered.clone(), refused.clone());
            std::thread::spawn(move || {
                let call =
                    json!({"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 20});
                while !stop.load(Ordering::SeqCst) {
                    let request = client.request("POST", "/abc/v1/chat/completions");
                    let answer = request.bearer(&key).json(&call).send();
                    match answer.status {
                        200 => answered.fetch_add(1, Ordering::SeqCst),
                        503 => {
                            assert!(answer.header("retry-after").is_some());
                            std::thread::sleep(Duration::from_millis(5));
                            refused.fetch_add(1, Ordering::SeqCst)
                        }
                        status => panic!("{status}: {}", answer.text()),
                    };
                }
            })
        });
        Load {
            threads: threads.collect(),
            stop,
            answered,
            refused,
        }
    }

    fn stop(self) -> (Vec<u64>, u64) {
        self.stop.store(true, Ordering::SeqCst);
        self.threads
            .into_iter()
            .for_each(|thread| thread.join().unwrap());
        let answered = self
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        (answered.collect(), self.refused.load(Ordering::SeqCst))
    }
}

/// Fills the disk under load (`greedy`: again whenever space becomes free) and checks every promise. Returns
/// the figure with the time until service resumes.
fn fill_and_free(greedy: bool) -> String {
    let gate = Gate::new();
    let hold = gate.clone();
    let provider = Provider::start(move |received| {
        if received.text().contains("stream") {
            Script::chat_stream(&["one ", "two "], 10, 2)
                .after(2, Step::WaitUntilReleased(hold.clone()))
        } else {
            Script::chat("Hi", 3, 4)
        }
    });
    let port = free_port();
    let setup = Setup::new();
    let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
    let setup = setup
        .on(&disk)
        .tenant("abc", sample(&provider).tokens(GRANT))
        .yaml(&format!("server: {{ ops_listen: \"127.0.0.1:{port}\" }}"));
    let gateway = Gateway::start(setup.clone());
    let ops = Client::new(format!("127.0.0.1:{port}").parse().unwrap());
    let keys: Vec<_> = (0..CLIENTS).map(|_| mint(&gateway, "abc")).collect();
    let (streaming, quiet) = (mint(&gateway, "abc"), mint(&gateway, "abc"));
    let mut stream = chat_streaming(
        &gateway,
        "abc",
        &streaming,
        &json!({"stream": true, "messages": []}),
    );
    stream.wait_for("one ");
    let load = Load::start(&gateway, &keys);
    eventually(Duration::from_secs(20), "calls are answered", || {
        let all = load
            .answered
            .iter()
            .all(|count| count.load(Ordering::SeqCst) > 20);
        all.then_some(())
    });
    assert_eq!(ops.get("/readyz").status, 200);

    disk.fill();
    let begun = Instant::now();
    let never = Arc::new(AtomicBool::new(false));
    let eater = greedy.then(|| {
        let (disk, never) = (disk.clone(), never.clone());
        std::thread::spawn(move || {
            while !never.load(Ordering::SeqCst) {
                disk.fill();
                std::thread::sleep(Duration::from_millis(20));
            }
        })
    });
    let call = json!({"messages": [{"role": "user", "content": "Hi"}]});
    let mut quietly = 0;
    let refusal = eventually(Duration::from_secs(10), "a full disk refuses", || {
        let answer = chat(&gateway, "abc", &quiet, &call);
        quietly += u64::from(answer.status == 200);
        (answer.status == 503).then_some(answer)
    });
    balance(&gateway, &quiet);
    assert_eq!(
        refusal.json()["error"]["code"],
        "store_full",
        "{}",
        refusal.text()
    );
    assert_eq!(refusal.header("retry-after"), Some("2"));
    assert_eq!(ops.get("/readyz").status, 503);
    assert_eq!(ops.get("/healthz").status, 200);
    let minted = gateway
        .client()
        .request("POST", "/abc/auth/anonymous")
        .send();
    assert_eq!(minted.status, 503, "{}", minted.text());
    // Open requests finish and are settled with the reserve file's space.
    gate.open();
    stream.wait_for("[DONE]");
    if !greedy {
        eventually(Duration::from_secs(5), "the stream is settled", || {
            (balance(&gateway, &streaming) == (GRANT - 12, GRANT - 12)).then_some(())
        });
    }
    let refused = load.refused.load(Ordering::SeqCst);
    eventually(Duration::from_secs(10), "everyone is refused", || {
        (load.refused.load(Ordering::SeqCst) > refused + 200).then_some(())
    });
    std::thread::sleep(Duration::from_secs(3).saturating_sub(begun.elapsed()));
    assert_eq!(
        gateway.count_logs("[ERROR] The disk of"),
        1,
        "{:#?}",
        gateway.logs()
    );

    never.store(true, Ordering::SeqCst);
    eater.into_iter().for_each(|eater| eater.join().unwrap());
    disk.free();
    let freed = Instant::now();
    eventually(Duration::from_secs(10), "it goes on by itself", || {
        (chat(&gateway, "abc", &quiet, &call).status == 200).then_some(())
    });
    let recovery = freed.elapsed();
    assert!(recovery < Duration::from_secs(2), "{recovery:?}");
    assert_eq!(ops.get("/readyz").status, 200);
    let (before, _): (Vec<u64>, u64) = (
        load.answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst))
            .collect(),
        0,
    );
    eventually(Duration::from_secs(10), "everyone is served", || {
        let mut now = load
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        before
            .iter()
            .all(|before| now.next() > Some(*before + 5))
            .then_some(())
    });
    assert_eq!(
        gateway.count_logs("writes again"),
        1,
        "{:#?}",
        gateway.logs()
    );
    assert_eq!(gateway.count_logs("panic"), 0, "{:#?}", gateway.logs());
    let (answered, refused) = load.stop();

    gateway.kill9();
    let gateway = Gateway::start(setup);
    for (key, answered) in keys.iter().zip(&answered) {
        let exact = GRANT - answered * COST;
        eventually(Duration::from_secs(5), "every balance is exact", || {
            (balance(&gateway, key) == (exact, exact)).then_some(())
        });
    }
    assert_eq!(balance(&gateway, &streaming), (GRANT - 12, GRANT - 12));
    assert_eq!(balance(&gateway, &quiet).0, GRANT - (quietly + 1) * COST);
    let answered: u64 = answered.iter().sum();
    format!(
        "{answered} answered, {refused} refused, back after {} ms, exact",
        recovery.as_millis()
    )
}

#[test]
fn full_disk_refuses_admissions_and_settles_open_calls() {
    for _ in 0..many(1, 5) {
        case("disk: full under load", || fill_and_free(false));
    }
}

#[test]
fn full_disk_without_the_reserve_loses_nothing() {
    for _ in 0..many(1, 5) {
        case("disk: full under load, the reserve eaten too", || {
            fill_and_free(true)
        });
    }
}

#[test]
fn read_only_disk_ends_the_start_with_one_line() {
    case("disk: read-only at the start", || {
        let setup = Setup::new();
        let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
        let setup = setup.on(&disk);
        disk.read_only();

        let (status, logs, took) = Gateway::run_to_end(setup);
        assert_eq!(status.code(), Some(1), "{logs:#?}");

        let errors: Vec<_> = logs
            .iter()
            .filter(|line| line.contains("[ERROR]"))
            .collect();
        assert_eq!(errors.len(), 1, "{logs:#?}");
        assert!(
            errors[0].contains("Embedded store failed: ") && errors[0].contains("Read-only"),
            "{errors:?}"
        );
        format!("exit 1 after {} ms", took.as_millis())
    });
}

#[test]
fn kills_lose_no_acknowledged_mint_or_charge() {
    case("disk: kill -9 of the embedded store", || {
        let rounds = many(3, 200);
        let (keys, charges) = kill_and_compare(rounds);
        format!("{rounds} kills, {keys} keys, {charges} charges, 0 lost")
    });
}

/// Makes every write beyond the first bytes of a file fail, above all the database's, then lets writes
/// succeed again.
fn fail_and_mend() -> String {
    let provider = Provider::start(|_| Script::chat("Hi", 3, 4));
    let setup = Setup::new();
    let disk = Arc::new(SmallDisk::mount(&setup.path().join("data"), 64));
    let setup = setup
        .on(&disk)
        .tenant("abc", sample(&provider).tokens(GRANT));
    let gateway = Gateway::start(setup.clone());
    let keys: Vec<_> = (0..CLIENTS).map(|_| mint(&gateway, "abc")).collect();
    let load = Load::start(&gateway, &keys);
    let all_beyond = |least: &[u64]| {
        let counts = load
            .answered
            .iter()
            .map(|count| count.load(Ordering::SeqCst));
        counts
            .zip(least)
            .all(|(count, least)| count > least + 20)
            .then_some(())
    };
    eventually(Duration::from_secs(20), "calls are answered", || {
        all_beyond(&[0; CLIENTS])
    });
    SmallDisk::limit(gateway.pid(), Some(16 << 10));
    eventually(Duration::from_secs(20), "everyone is refused", || {
        (load.refused.load(Ordering::SeqCst) > 400).then_some(())
    });
    assert_eq!(
        gateway.count_logs("Embedded store cannot write"),
        1,
        "{:#?}",
        gateway.logs()
    );
    let counts = load
        .answered
        .iter()
        .map(|count| count.load(Ordering::SeqCst));
    let before: Vec<u64> = counts.collect();
    SmallDisk::limit(gateway.pid(), None);
    let mended = Instant::now();
    eventually(Duration::from_secs(20), "everyone is served", || {
        all_beyond(&before)
    });
    let recovery = mended.elapsed();
    let (answered, refused) = load.stop();
    assert_eq!(
        gateway.count_logs("writes again"),
        1,
        "{:#?}",
        gateway.logs()
    );
    assert_eq!(gateway.count_logs("panic"), 0, "{:#?}", gateway.logs());
    gateway.kill9();
    let gateway = Gateway::start(setup);
    for (key, answered) in keys.iter().zip(&answered) {
        let exact = GRANT - answered * COST;
        assert_eq!(balance(&gateway, key), (exact, exact));
    }
    let answered: u64 = answered.iter().sum();
    format!(
        "{answered} answered, {refused} refused, all served after {} ms, exact",
        recovery.as_millis()
    )
}

#[test]
fn writes_that_fail_for_a_while_lose_nothing() {
    for _ in 0..many(1, 5) {
        case("disk: writes fail under load", fail_and_mend);
    }
}
