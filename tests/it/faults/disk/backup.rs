//! `resullm store` commands: backup, restore and check.

use super::{Copy, Dice, command, laid_out, open, stores};
use crate::faults::{case, many};
use crate::harness::{Gateway, Setup};
use crate::store::contract::runtime;
use resullm::store::Durability;
use serde_json::json;

#[test]
fn restore_brings_everything_back_or_changes_nothing() {
    let mut dice = Dice::new("backups");
    let stores = stores(&mut dice);
    case("disk: backup and restore", || {
        let mut bytes = 0;
        let mut flips = 0;

        for (copy, known) in &stores {
            let setup = laid_out(copy);
            let (good, text) = command(&setup, &["check"]);
            assert!(good, "{text}");
            let told: serde_json::Value = serde_json::from_str(&text).unwrap();
            let contents = &told["contents"];
            assert_eq!(contents["accounts"], 40, "{text}");
            assert_eq!(
                contents["tokensLeft"],
                known.balances.iter().sum::<u64>(),
                "{text}"
            );
            assert_eq!(
                (&contents["tenants"], &contents["usageRecords"]),
                (&json!(1), &json!(60))
            );
            let backup = setup.path().join("backup").display().to_string();
            let (good, text) = command(&setup, &["backup", &backup]);
            assert!(good, "{text}");
            let (good, text) = command(&setup, &["backup", &backup]);
            assert!(!good && text.contains("never written over"), "{text}");
            // Restore never overwrites an existing store.
            let before = Copy::of(&setup.path().join("data"));
            let (good, text) = command(&setup, &["restore", &backup]);
            assert!(!good && text.contains("move the directory away"), "{text}");
            assert!(before.0 == Copy::of(&setup.path().join("data")).0);
            // Restore refuses a backup with a changed or missing byte.
            let whole = std::fs::read(&backup).unwrap();
            for round in 0..many(10, 150) {
                let empty = Setup::new();
                let mut broken = whole.clone();
                let at = dice.roll(broken.len());
                if round % 5 == 4 {
                    broken.truncate(at);
                } else {
                    broken[at] ^= 1 + dice.roll(255) as u8;
                }
                let file = empty.path().join("broken");
                std::fs::write(&file, broken).unwrap();
                let (good, text) = command(&empty, &["restore", &file.display().to_string()]);
                assert!(!good && text.contains("no good backup"), "{at}: {text}");
                assert!(!empty.path().join("data").exists());
                flips += 1;
            }
            // Restore of the whole backup.
            let new = Setup::new();
            let (good, text) = command(&new, &["restore", &backup]);
            assert!(good, "{text}");
            let again = new.path().join("again").display().to_string();
            let (good, text) = command(&new, &["backup", &again]);
            assert!(good, "{text}");
            assert!(
                std::fs::read(&again).unwrap() == whole,
                "the same, byte for byte"
            );
            bytes += whole.len();
            runtime().block_on(async {
                let store = open(&new.path().join("data")).unwrap();
                assert_eq!(known.check(&store).await, 0);
                store.close().await;
            });
        }
        format!("{bytes} bytes there and back; {flips} damaged backups refused, nothing changed")
    });
}

#[test]
fn store_commands_refuse_a_store_in_use_and_redis() {
    case("disk: commands beside a running gateway", || {
        let gateway = Gateway::start(Setup::new());
        let setup = gateway.setup();
        let file = setup.path().join("backup").display().to_string();

        for args in [&["check"][..], &["backup", &file]] {
            let (good, text) = command(setup, args);
            assert!(
                !good && text.contains("in use by another process (pid"),
                "{text}"
            );
        }
        assert_eq!(gateway.client().get("/").status, 200);
        let (good, text) = command(&Setup::new().store("redis://127.0.0.1:1"), &["check"]);
        assert!(!good && text.contains("embedded store"), "{text}");
        "refused with the pid of the gateway".to_owned()
    });
}
