//! The mock provider's responses, built once: a plain completion of about 550 bytes, and a stream of
//! [`CHUNKS`] chunks.

use serde::Serialize;

pub const CHUNKS: usize = 20;
/// Reported `prompt_tokens`.
const PROMPT: u64 = 12;
/// Reported `completion_tokens` of a plain response.
const COMPLETION: u64 = 8;
/// Reported `total_tokens` of a plain response.
pub const TOKENS_PLAIN: u64 = PROMPT + COMPLETION;
/// Reported `total_tokens` of a stream.
pub const TOKENS_STREAM: u64 = PROMPT + CHUNKS as u64;

pub struct Answers {
    pub plain: Vec<u8>,
    /// Stream events in chunked coding; the first one includes the response head, the last one the final
    /// chunk.
    pub events: Vec<Vec<u8>>,
}

impl Answers {
    pub fn build() -> Answers {
        let plain = concat!(
            r#"{"id":"chatcmpl-Bz5qXyvN2mT8sRk4LdWcPoEa71HgU","object":"chat.completion","created":1763600000,"#,
            r#""model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","#,
            r#""content":"Hello! How can I assist you today?","refusal":null,"annotations":[]},"#,
            r#""logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":12,"completion_tokens":8,"#,
            r#""total_tokens":20,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#,
            r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"#,
            r#""service_tier":"default","system_fingerprint":"fp_51db84afab"}"#,
        );
        Answers {
            plain: with_head("200 OK", plain.as_bytes()),
            events: events(),
        }
    }
}

fn events() -> Vec<Vec<u8>> {
    let event = |rest: &str| {
        let text = format!(
            "data: {{\"id\":\"chatcmpl-Bz5qXyvN2mT8sRk4LdWcPoEa71HgU\",\"object\":\"chat.completion.chunk\",\
             \"created\":1763600000,\"model\":\"gpt-4o-mini-2024-07-18\",\"system_fingerprint\":\"fp_51db84afab\",{rest}}}\n\n"
        );
        chunk(&text)
    };
    let mut events: Vec<Vec<u8>> = (1..=CHUNKS)
        .map(|number| {
            let reason = if number == CHUNKS { "\"stop\"" } else { "null" };
            event(&format!(
                "\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\" word{number}\"}},\
                 \"logprobs\":null,\"finish_reason\":{reason}}}],\"usage\":null"
            ))
        })
        .collect();
    events.push(event(&format!(
        "\"choices\":[],\"usage\":{{\"prompt_tokens\":{PROMPT},\"completion_tokens\":{CHUNKS},\
         \"total_tokens\":{TOKENS_STREAM}}}"
    )));
    events.push([chunk("data: [DONE]\n\n"), b"0\r\n\r\n".to_vec()].concat());
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\n\
                cache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n";
    events[0].splice(0..0, head.bytes());
    events
}

fn chunk(text: &str) -> Vec<u8> {
    format!("{:x}\r\n{text}\r\n", text.len()).into_bytes()
}

pub fn json(value: &impl Serialize) -> Vec<u8> {
    with_head("200 OK", &serde_json::to_vec(value).unwrap_or_default())
}

pub fn refusal(status: &str) -> Vec<u8> {
    with_head(status, b"{}")
}

fn with_head(status: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{Body, Events, Framing};

    #[test]
    fn a_stream_has_its_chunks_its_usage_and_its_end() {
        let bytes = Answers::build().events.concat();
        let text = String::from_utf8(bytes).unwrap();
        let (_, coded) = text.split_once("\r\n\r\n").unwrap();
        let (mut body, mut events) = (Body::new(Framing::Chunked), Events::default());
        body.feed(coded.as_bytes(), |piece| events.feed(piece))
            .unwrap();
        assert!(body.is_done());
        assert_eq!(events.count(), CHUNKS as u64 + 2);
        assert!(events.ended_with_done());
        assert!(text.contains("\"total_tokens\":32"));
    }

    #[test]
    fn a_plain_answer_is_json_of_the_usual_size() {
        let text = String::from_utf8(Answers::build().plain).unwrap();
        let (_, body) = text.split_once("\r\n\r\n").unwrap();
        assert!((500..650).contains(&body.len()), "{}", body.len());
        let value: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(value["usage"]["total_tokens"], TOKENS_PLAIN);
    }
}
