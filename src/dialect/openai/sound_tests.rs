//! Lengths of WAV files, and usage in `seconds`.

use super::*;
use proptest::prelude::*;

fn wav(channels: u16, samples: u32, rate: u32, block: u16, bits: u16, length: u32) -> Vec<u8> {
    let mut file = b"RIFF".to_vec();
    file.extend((36 + length).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(samples.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend(block.to_le_bytes());
    file.extend(bits.to_le_bytes());
    file.extend(b"data");
    file.extend(length.to_le_bytes());
    file.resize(44 + length as usize, 0);
    file
}

#[test]
fn a_plain_wav_says_how_long_it_is_and_others_are_bounded() {
    for (file, most, likely) in [
        (wav(1, 16_000, 32_000, 2, 16, 320_000), 10, 10),
        (wav(2, 44_100, 176_400, 4, 16, 176_400), 1, 1),
        (wav(1, 100, 100, 1, 8, 1_000), 10, 10),
        (vec![0; 10_001], 2_001, 2_001),
        (Vec::new(), 0, 0),
    ] {
        assert_eq!(Length::of(&file), Length { most, likely });
    }
}

#[test]
fn usage_in_seconds_is_rounded_up() {
    for (text, expected) in [
        (r#"{"type":"duration","seconds":9.0}"#, Some((450, 0))),
        (r#"{"type":"duration","seconds":9.01}"#, Some((500, 0))),
        (r#"{"type":"duration","seconds":-9}"#, None),
        (
            r#"{"type":"tokens","input_tokens":14,"output_tokens":4}"#,
            Some((14, 4)),
        ),
        (r#"{"type":"duration","seconds":null}"#, None),
        (r#"{"type":"duration"}"#, None),
        ("{}", None),
    ] {
        let counts = usage(text.as_bytes(), 50)
            .map(|claim| claim.usage())
            .map(|u| (u.uncached_input.count(), u.output.count()));
        assert_eq!(counts, expected, "{text}");
    }
    assert_eq!(of_seconds(u64::MAX, 50).total(), Tokens::MAX);
}

proptest! {
    #[test]
    fn any_bytes_have_a_length(
        head in "(RIFF....WAVEfmt ....)?",
        tail in proptest::collection::vec(any::<u8>(), 0..40),
    ) {
        let _ = Length::of(&[head.as_bytes(), &tail].concat());
    }
}
