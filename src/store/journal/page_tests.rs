//! Tests of pages read back complete, truncated and damaged.

use super::*;
use proptest::prelude::*;

fn page() -> (Page, PathBuf) {
    let dir = std::env::temp_dir().join(format!("resullm-page-{}", uuid::Uuid::new_v4()));
    fs::create_dir(&dir).unwrap();
    (Page::create(&dir, "page.held").unwrap(), dir)
}

fn say(page: &mut Page, steps: &[(u8, u8, u64)]) {
    for (kind, id, tokens) in steps {
        let (id, lease) = (format!("r{id}"), format!("l{}", id % 3));
        let tokens = Tokens::new(*tokens);
        // No ID is given twice, and what is noted of a request is noted while it is open.
        let is_open = page.has(&id);
        let is_settled = page.drafts.contains_key(&id);
        if matches!(kind, 10 | 11) && !is_open || matches!(kind, 0 | 1 | 2 | 5 | 10) && is_settled {
            continue;
        }
        match kind {
            0 => page.begin("user:u1", &id, tokens),
            1 => page.learn('K', &id, tokens),
            2 => page.learn('D', &id, tokens),
            3 => page.end(&id),
            4 => page.lease("apiKey:k", &lease),
            5 => page.begin_leased(&lease, &id, tokens),
            6 => page.spend(&lease, &id, tokens),
            7 => page.report(&lease, 1 + tokens.count(), tokens),
            8 => page.heard(&lease, tokens.count()),
            10 => page.context(&id, &format!("\"a\":\"b c\",\"n\":{tokens}")),
            11 => {
                page.draft(
                    &id,
                    Millis(7),
                    tokens,
                    &format!("\"x\":\" y \",\"n\":{tokens}"),
                );
                page.learn('D', &id, tokens);
            }
            12 => page.recorded([id.as_str()].into_iter()),
            _ => page.end_lease(&lease),
        }
    }
    page.flush();
}

fn read(bytes: &[u8]) -> Result<String, usize> {
    let left = Leftover::read(bytes, Boot::Same)?;
    let mut open: Vec<_> = left.open.into_iter().collect();
    let mut leases: Vec<_> = left.leases.into_iter().collect();
    let mut drafts: Vec<_> = left.drafts.into_iter().collect();
    drafts.sort_by(|a, b| a.0.cmp(&b.0));
    open.sort_by(|a, b| a.0.cmp(&b.0));
    leases.sort_by(|a, b| a.0.cmp(&b.0));
    let told = |(id, entry): &(String, PageEntry)| {
        let PageEntry {
            of,
            leased,
            known,
            decided,
            context,
        } = entry;
        format!("{id} {of} {leased} {known} {decided} {context};")
    };
    let owed = |(name, part): &(String, Part)| {
        let (account, numbers) = (&part.account, (part.number, part.told, part.heard));
        format!("{name} {account:?} {} {numbers:?};", part.spent)
    };
    Ok(open
        .iter()
        .map(told)
        .chain(leases.iter().map(owed))
        .chain(drafts.iter().map(|draft| format!("{draft:?};")))
        .collect())
}

#[test]
fn page_after_a_power_loss_charges_decided_requests_only() {
    let (mut page, dir) = page();
    say(
        &mut page,
        &[
            (0, 1, 5),
            (2, 1, 9),
            (4, 0, 0),
            (6, 0, 7),
            (7, 0, 2),
            (6, 3, 4),
            (5, 6, 3),
        ],
    );
    let mut bytes = fs::read(dir.join("page.held")).unwrap();
    fs::remove_dir_all(dir).unwrap();
    bytes.extend([0; 600]);
    bytes.extend_from_slice(b"torn\n");
    assert!(Leftover::read(&bytes, Boot::Same).is_err());
    let left = Leftover::read(&bytes, Boot::Other).ok().unwrap();
    assert_eq!(left.open.len(), 1);
    assert!(left.open["r1"].decided && left.open["r1"].known == 9);
    let part = &left.leases["l0"];
    assert_eq!(
        (part.spent, part.number, part.told, part.heard),
        (0, 3, 2, 0)
    );
}

fn steps() -> impl Strategy<Value = Vec<(u8, u8, u64)>> {
    proptest::collection::vec((0u8..13, 0u8..6, 0u64..1_000), 1..40)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn truncated_page_has_whole_lines_and_a_flip_is_damage(
        steps in steps(),
        at: prop::sample::Index,
        flip in 1u8..=255,
    ) {
        let (mut page, dir) = page();
        say(&mut page, &steps);
        let mut bytes = fs::read(dir.join("page.held")).unwrap();
        fs::remove_dir_all(dir).unwrap();
        prop_assume!(!bytes.is_empty());
        let whole = read(&bytes).unwrap();
        let cut = at.index(bytes.len());
        // A line that lacks only its `\n` counts as complete.
        let lines = bytes[..=cut].iter().rposition(|b| *b == b'\n').map_or(0, |end| end + 1);
        let kept = if lines == cut + 1 { lines } else { lines.min(cut) };
        prop_assert_eq!(read(&bytes[..cut]), read(&bytes[..kept]));
        bytes[cut] ^= flip;
        prop_assert!(read(&bytes).is_err(), "{} {whole}", cut);
    }

    #[test]
    fn a_page_written_anew_after_a_failure_says_the_same(first in steps(), second in steps()) {
        let (mut whole, one) = page();
        let (mut failed, other) = page();
        say(&mut whole, &first);
        say(&mut failed, &first);
        // As after a write that failed on a full disk.
        failed.failed = true;
        say(&mut whole, &second);
        say(&mut failed, &second);
        let bytes = [one, other].map(|dir| {
            let bytes = fs::read(dir.join("page.held")).unwrap();
            assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
            fs::remove_dir_all(dir).unwrap();
            bytes
        });
        prop_assert_eq!(read(&bytes[0]).unwrap(), read(&bytes[1]).unwrap());
    }
}
