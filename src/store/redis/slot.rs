//! Hash slot of a name in a Redis Cluster: CRC16 of the part in braces, or of the whole name.

/// Returns the slot of `name`, 0 to 16,383.
pub fn of(name: &str) -> u16 {
    let tag = name
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'))
        .map(|(tag, _)| tag)
        .filter(|tag| !tag.is_empty())
        .unwrap_or(name);
    crc16(tag.as_bytes()) % 16_384
}

fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 {
                crc << 1
            } else {
                (crc << 1) ^ 0x1021
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(of("foo"), 12_182);
        assert_eq!(of("{apiKey:temp_1}:books"), of("apiKey:temp_1"));
        assert_eq!(of("{}x"), crc16(b"{}x") % 16_384);
    }
}
