//! Lengths of recordings, from real encoders and forged.

use super::{LONGEST_SECONDS, Length, packets};
use proptest::prelude::*;

macro_rules! fixture {
    ($name:literal) => {
        include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sounds/", $name)).as_slice()
    };
}

/// Recordings, each with the milliseconds of sound that ffmpeg decodes from it.
const RECORDINGS: [(&[u8], u64); 23] = [
    (fixture!("quiet.aac"), 30_080),
    (fixture!("quiet.flac"), 30_000),
    (fixture!("quiet.m4a"), 30_016),
    (fixture!("quiet.ogg"), 30_000),
    (fixture!("quiet.opus"), 30_000),
    (fixture!("quiet.webm"), 30_000),
    (fixture!("quiet_aac.mkv"), 30_016),
    (fixture!("quiet_alac.m4a"), 30_000),
    (fixture!("quiet_flac.ogg"), 30_000),
    (fixture!("quiet_parts.mp4"), 30_080),
    (fixture!("talk.aiff"), 500),
    (fixture!("talk.amr"), 3_020),
    (fixture!("talk.caf"), 500),
    (fixture!("talk.flac"), 300),
    (fixture!("talk.m4a"), 3_072),
    (fixture!("talk.mp3"), 3_000),
    (fixture!("talk.ogg"), 3_000),
    (fixture!("talk.opus"), 3_000),
    (fixture!("talk.wav"), 500),
    (fixture!("talk_adpcm.wav"), 1_022),
    (fixture!("talk_bare.mp3"), 3_168),
    (fixture!("talk_live.webm"), 3_000),
    (fixture!("talk_mp3.wav"), 3_168),
];

fn most(file: &[u8]) -> u64 {
    Length::of(file).most
}

fn joined(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// Returns `file` with `bytes` written at offset `at`.
fn with(file: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut file = file.to_vec();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    file
}

fn place(file: &[u8], mark: &[u8]) -> usize {
    file.windows(mark.len())
        .position(|bytes| bytes == mark)
        .unwrap()
}

#[test]
fn every_recording_is_bounded_and_its_length_likely() {
    for (at, (file, milliseconds)) in RECORDINGS.iter().enumerate() {
        let length = Length::of(file);
        assert!(length.most * 1_000 >= *milliseconds, "{at}: {length:?}");
        assert!(length.most < 300, "{at}: {length:?}");
        let low = milliseconds * 98 / 100 / 1_000;
        let high = (milliseconds * 102 / 100 + 200).div_ceil(1_000);
        assert!((low..=high).contains(&length.likely), "{at}: {length:?}");
    }
}

#[test]
fn silence_is_as_long_as_its_frames() {
    assert_eq!(most(fixture!("quiet.flac")), 30);
    assert_eq!(most(fixture!("quiet.opus")), 31);
    assert_eq!(most(fixture!("quiet.webm")), 31);
}

#[test]
fn nothing_lasts_nothing() {
    assert_eq!(Length::of(b""), Length::default());
}

#[test]
fn an_unknown_file_is_held_to_be_as_tight_as_any_codec() {
    let length = Length::of(&[7; 8_001]);
    assert_eq!(
        length,
        Length {
            most: 1_601,
            likely: 1_601
        }
    );
}

#[test]
fn lengths_add_up_without_overflow() {
    let long = Length {
        most: u64::MAX,
        likely: 2,
    };
    assert_eq!(
        long.plus(Length { most: 1, likely: 3 }),
        Length {
            most: u64::MAX,
            likely: 5
        }
    );
}

#[test]
fn a_file_that_contradicts_itself_is_likely_as_long_as_it_is_held() {
    let file = fixture!("quiet.flac");
    let length = Length::of(&joined(&[file, file]));
    assert_eq!(length.likely, LONGEST_SECONDS);
}

#[test]
fn a_header_that_declares_less_than_its_frames_is_not_believed() {
    // Number of sample frames in `COMM`.
    let file = fixture!("talk.aiff");
    let at = place(file, b"COMM") + 10;
    let mut long = with(file, at, &1u32.to_be_bytes());
    long.resize(16 * file.len(), 0);
    let length = Length::of(&long);
    assert!(
        length.most >= 8 && length.likely * 2 >= length.most,
        "{length:?}"
    );

    // Granule positions of a Vorbis stream.
    let mut forged = fixture!("talk.ogg").to_vec();
    for at in 0..forged.len() - 14 {
        if forged[at..].starts_with(b"OggS") {
            forged[at + 6..at + 14].fill(0);
        }
    }
    let length = Length::of(&forged);
    assert!(length.likely * 2 >= length.most.min(4), "{length:?}");

    // Byte rate of ADPCM.
    let forged = with(fixture!("talk_adpcm.wav"), 28, &6_000_000u32.to_le_bytes());
    let length = Length::of(&forged);
    assert!(length.likely * 2 >= length.most, "{length:?}");
}

#[test]
fn flac_is_not_shorter_than_its_frames_though_it_says_so() {
    let file = fixture!("quiet.flac");
    assert_eq!(most(&with(file, 21, &[0xf0, 0, 0, 0, 1])), 30);
    assert_eq!(most(&with(file, 21, &[0xf0, 0, 0, 0, 0])), 30);
}

#[test]
fn flac_of_a_low_rate_is_as_long_as_decoders_take_it() {
    // A FLAC frame of 65,536 samples at 1 Hz, with the frame number 0.
    let mut frame = vec![0xff, 0xf8, 0x7d, 0x08, 0x00, 0xff, 0xff, 0x00, 0x01];
    let crc = (0..=255).find(|crc| super::flac::frame(&joined(&[&frame, &[*crc]])).is_some());
    frame.push(crc.unwrap());
    let file = joined(&[&fixture!("quiet.flac")[..42], &frame, &frame]);
    assert_eq!(most(&file), 2 * 65_536);
}

#[test]
fn flac_after_flac_has_no_bound() {
    let file = fixture!("quiet.flac");
    assert_eq!(most(&joined(&[file, file])), LONGEST_SECONDS);
}

#[test]
fn a_declaration_is_believed_up_to_the_longest() {
    let file = fixture!("quiet.flac");
    assert_eq!(
        most(&with(file, 21, &[0xff, 0xff, 0xff, 0xff, 0xff])),
        LONGEST_SECONDS
    );
}

#[test]
fn links_of_an_ogg_chain_add_up() {
    let file = fixture!("talk.opus");
    assert_eq!(most(&file.repeat(20)), 62);
    assert_eq!(most(&fixture!("quiet_flac.ogg").repeat(3)), 90);
}

#[test]
fn a_page_inside_a_page_has_no_bound() {
    let file = fixture!("talk.opus");
    let at = file.len() - 40;
    assert_eq!(most(&with(file, at, b"OggS")), LONGEST_SECONDS);
}

#[test]
fn positions_of_ogg_do_not_shorten_it() {
    let file = fixture!("quiet.opus");
    let mut forged = file.to_vec();
    for at in 0..file.len() - 14 {
        if &file[at..at + 4] == b"OggS" {
            forged[at + 6..at + 14].fill(0);
        }
    }
    assert_eq!(most(&forged), 31);
}

#[test]
fn an_opus_packet_lasts_what_its_head_says() {
    let milliseconds = |packet: &[u8]| packets::opus(packet).samples(1_000);
    assert_eq!(milliseconds(&[0x08]), 20);
    assert_eq!(milliseconds(&[0x1b, 0x02]), 120);
    assert_eq!(milliseconds(&[0x1b, 0x3f]), 120);
    assert_eq!(milliseconds(&[0x81, 0]), 5);
    assert_eq!(milliseconds(&[]), 120);
    assert_eq!(milliseconds(&[0x03]), 120);
}

#[test]
fn mpeg_frames_in_a_wav_of_plain_samples_are_counted() {
    let wav = with(
        &fixture!("talk.wav")[..44],
        24,
        &[0x00, 0x77, 0x01, 0x00, 0x00, 0xee, 0x02, 0x00],
    );
    let hidden = joined(&[&wav, &fixture!("talk_bare.mp3").repeat(10)]);
    assert!(most(&hidden) >= 31, "{}", most(&hidden));
}

#[test]
fn dts_in_a_wav_of_plain_samples_has_no_bound() {
    let dts = [0xfe, 0x7f, 0x01, 0x80, 1, 2, 3, 4].repeat(4);
    let file = joined(&[&fixture!("talk.wav")[..44], &dts]);
    assert_eq!(most(&file), LONGEST_SECONDS);
}

#[test]
fn small_frames_inside_a_large_one_are_counted() {
    // Headers of a frame of 320 kbit/s, and of an MPEG-2 frame of 24 bytes.
    let (large, small) = ([0xff, 0xfb, 0xe0, 0x44], [0xff, 0xf3, 0x14, 0xc4]);
    let small = joined(&[&small, &[0; 20]]);
    let file = joined(&[&large, &small.repeat(1_000)]);
    assert!(most(&file) >= 23);
}

#[test]
fn a_low_rate_of_the_first_frame_holds_for_all() {
    // libsndfile keeps the 8 kHz of the first frame.
    let (first, rest) = ([0xff, 0xe3, 0x18, 0xc4], [0xff, 0xf3, 0x14, 0xc4]);
    let (first, rest) = (joined(&[&first, &[0; 68]]), joined(&[&rest, &[0; 20]]));
    assert_eq!(most(&joined(&[&first, &rest.repeat(1_000)])), 73);
}

#[test]
fn id3_before_any_container_is_passed_over() {
    let tag = b"ID3\x04\0\0\0\0\0\x02\0\0";
    for file in [fixture!("quiet.flac"), fixture!("talk_bare.mp3")] {
        assert_eq!(Length::of(&joined(&[tag, file])), Length::of(file));
    }
    assert_eq!(most(b"ID3\x04\0\0\xff\xff\xff\xff\0\0"), LONGEST_SECONDS);
}

#[test]
fn a_wav_that_contradicts_itself_is_read_the_longer_way() {
    let file = fixture!("talk.wav");
    let bits = place(file, b"fmt ") + 8 + 14;
    let longer = joined(&[file, &[0; 16_000]]);
    assert_eq!(most(&longer), 2);
    assert_eq!(most(&with(&longer, bits, &[8, 0])), 3);
    assert_eq!(most(&with(file, bits, &[0, 0])), LONGEST_SECONDS);
}

#[test]
fn a_wav_at_one_hertz_is_as_long_as_its_samples() {
    let file = fixture!("talk.wav");
    let rate = place(file, b"fmt ") + 8 + 4;
    let samples = (file.len() - 44) as u64 / 2;
    assert_eq!(most(&with(file, rate, &[1, 0, 0, 0, 2, 0, 0, 0])), samples);
}

#[test]
fn samples_of_mp4_over_each_other_have_no_bound() {
    let file = fixture!("quiet.m4a");
    let sizes = place(file, b"stsz") + 8;
    assert!(most(&with(file, sizes, &[0, 0, 1, 0, 0, 0xff, 0, 0])) >= LONGEST_SECONDS);
}

#[test]
fn times_of_mp4_do_not_shorten_it() {
    let file = fixture!("quiet.m4a");
    let times = place(file, b"stts") + 8;
    assert!(most(&with(file, times, &[0; 12])) >= 30);
}

#[test]
fn times_of_mp4_are_believed_up_to_the_longest() {
    let file = fixture!("quiet.m4a");
    let delta = place(file, b"stts") + 16;
    assert_eq!(most(&with(file, delta, &[0xff; 4])), LONGEST_SECONDS);
}

#[test]
fn a_cluster_that_is_passed_over_has_no_bound() {
    let file = fixture!("quiet.webm");
    let void = [0xec, 0x84, 0x1f, 0x43, 0xb6, 0x75];
    assert_eq!(most(&joined(&[file, &void])), LONGEST_SECONDS);
}

#[test]
fn amr_of_an_unused_kind_is_a_byte_a_frame() {
    let file = joined(&[b"#!AMR\n", &[0x7c; 100]]);
    assert_eq!(most(&file), 2);
    let file = joined(&[b"#!AMR\n", &[0x54; 100]]);
    assert_eq!(most(&file), 2);
}

/// Recordings with a few edits: a byte set, a bit flipped, the tail cut off or repeated.
fn mutated() -> impl Strategy<Value = Vec<u8>> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4u8), 1..12);
    (0..RECORDINGS.len(), edits).prop_map(|(which, edits)| {
        let mut file = RECORDINGS[which].0.to_vec();
        for (index, byte, edit) in edits {
            let at = index.index(file.len());
            match edit {
                0 => file[at] = byte,
                1 => file[at] ^= 1 << (byte & 7),
                2 => file.truncate(at + 1),
                _ => file.extend_from_within(at..),
            }
        }
        file
    })
}

proptest! {
    #[test]
    fn any_bytes_have_a_length(file in prop::collection::vec(any::<u8>(), 0..4_096)) {
        let length = Length::of(&file);
        prop_assert!(length.likely <= length.most);
    }

    #[test]
    fn any_bytes_behind_a_head_have_a_length(
        which in 0..RECORDINGS.len(),
        head in 4..200usize,
        rest in prop::collection::vec(any::<u8>(), 0..2_048),
    ) {
        let file = RECORDINGS[which].0;
        let length = Length::of(&joined(&[&file[..head], &rest]));
        prop_assert!(length.likely <= length.most);
    }

    #[test]
    fn any_changed_recording_has_a_length(file in mutated()) {
        let length = Length::of(&file);
        prop_assert!(length.likely <= length.most);
    }

    #[test]
    fn no_frames_are_for_nothing(file in mutated()) {
        // MP4 and AAC have bounds far above an ordinary file.
        let names = [b"ftyp", b"A_AA"];
        let is_loose = names.iter().any(|name| super::find(&file, 0, name).is_some());
        let reading = super::read(&file);
        if reading.bounded && !is_loose {
            let likely = reading.likely.unwrap_or(reading.most);
            prop_assert!(likely.times(2) >= reading.most, "{reading:?}");
        }
    }

    #[test]
    fn cutting_a_recording_never_makes_it_longer_than_the_longest(which in 0..RECORDINGS.len(), at: prop::sample::Index) {
        let file = RECORDINGS[which].0;
        prop_assert!(most(&file[..at.index(file.len())]) <= LONGEST_SECONDS);
    }
}
