//! A second HTTP/1.1 request parser, written from the RFC alone: slow, strict, whole messages only. It must
//! accept every request that the gateway accepts.

/// A request with its decoded body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub method: Vec<u8>,
    pub target: Vec<u8>,
    pub is_current: bool,
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub is_chunked: bool,
    pub keeps: bool,
    pub body: Vec<u8>,
}

/// Complete requests at the start of the bytes, up to a malformed one or the end of the connection.
pub fn messages(mut bytes: &[u8]) -> Vec<Message> {
    let mut messages = Vec::new();
    while let Some((message, length)) = message(bytes) {
        let keeps = message.keeps;
        messages.push(message);
        bytes = &bytes[length..];
        if !keeps {
            break;
        }
    }
    messages
}

fn message(bytes: &[u8]) -> Option<(Message, usize)> {
    let mut at = 0;
    while bytes[at..].starts_with(b"\r\n") {
        at += 2;
    }
    let end = at + find(&bytes[at..], b"\r\n\r\n")?;
    if end + 4 - at > 64 << 10 {
        return None;
    }
    let mut lines = split(&bytes[at..end], b"\r\n").into_iter();
    let start: Vec<&[u8]> = lines.next()?.split(|byte| *byte == b' ').collect();
    let [method, target, version] = start.as_slice() else {
        return None;
    };
    let is_current = match *version {
        b"HTTP/1.1" => true,
        b"HTTP/1.0" => false,
        _ => return None,
    };
    let visible = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    let readable = is_token(method) && !target.is_empty() && target.iter().all(visible);
    if !readable || std::str::from_utf8(target).is_err() {
        return None;
    }
    let mut fields = Vec::new();
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        let printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
        if !is_token(name) || !value.iter().all(printable) {
            return None;
        }
        fields.push((name.to_vec(), trim(value).to_vec()));
    }
    if fields.len() > 100 {
        return None;
    }
    let all = |wanted: &str| -> Vec<&[u8]> {
        let named = fields
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
        named.map(|(_, value)| value.as_slice()).collect()
    };
    match (all("host").len(), is_current) {
        (1, _) | (0, false) => {}
        _ => return None,
    }
    let host = all("host").first().copied();
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
    if !host.is_none_or(|host| host.iter().all(fits)) || !is_form(method, target, host) {
        return None;
    }
    let unheard_of = |expected: &&[u8]| !expected.eq_ignore_ascii_case(b"100-continue");
    if all("expect").iter().any(unheard_of) {
        return None;
    }
    let connection: Vec<Vec<u8>> = all("connection")
        .iter()
        .flat_map(|value| value.split(|byte| *byte == b','))
        .map(|word| trim(word).to_ascii_lowercase())
        .collect();
    let says = |word: &str| connection.iter().any(|said| said == word.as_bytes());
    let keeps = !says("close") && (is_current || says("keep-alive"));
    let rest = &bytes[end + 4..];
    let (body, length, is_chunked) = match (
        all("transfer-encoding").as_slice(),
        all("content-length").as_slice(),
    ) {
        ([], []) => (Vec::new(), 0, false),
        ([], [length]) => {
            let digits = (1..=18).contains(&length.len()) && length.iter().all(u8::is_ascii_digit);
            let length = std::str::from_utf8(length).ok().filter(|_| digits)?;
            let length = usize::try_from(length.parse::<u64>().ok()?).ok()?;
            (rest.get(..length)?.to_vec(), length, false)
        }
        ([coding], []) if is_current && coding.eq_ignore_ascii_case(b"chunked") => {
            let (body, length) = chunks(rest)?;
            (body, length, true)
        }
        _ => return None,
    };
    let message = Message {
        method: method.to_vec(),
        target: target.to_vec(),
        is_current,
        is_chunked,
        keeps,
        body,
        fields: fields.clone(),
    };
    Some((message, end + 4 + length))
}

/// Whether the target has origin form, absolute form with the same host, or is `*` for OPTIONS; fragments are
/// refused.
fn is_form(method: &[u8], target: &[u8], host: Option<&[u8]>) -> bool {
    if target.contains(&b'#') {
        return false;
    }
    for scheme in [&b"http://"[..], b"https://"] {
        if let Some(rest) = target.strip_prefix(scheme) {
            let end = rest.iter().position(|byte| matches!(byte, b'/' | b'?'));
            let named = &rest[..end.unwrap_or(rest.len())];
            let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._:[]".contains(byte);
            let same = host.is_none_or(|host| host.eq_ignore_ascii_case(named));
            return named.iter().all(plain) && same;
        }
    }
    target[0] == b'/' || (target == b"*" && method == b"OPTIONS")
}

/// Content of a chunked body, and its encoded length.
fn chunks(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        let digits = line
            .iter()
            .take_while(|byte| byte.is_ascii_hexdigit())
            .count();
        let behind = trim(&line[digits..]);
        if !(1..=15).contains(&digits) || !(behind.is_empty() || behind[0] == b';') {
            return None;
        }
        let size = std::str::from_utf8(&line[..digits]).ok()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            break;
        }
        body.extend_from_slice(bytes.get(at..at.checked_add(size)?)?);
        at += size;
        if !bytes[at..].starts_with(b"\r\n") {
            return None;
        }
        at += 2;
    }
    let mut trailers = 0;
    loop {
        let line = line(&bytes[at..])?;
        at += line.len() + 2;
        trailers += line.len() + 2;
        if trailers > 16 << 10 {
            return None;
        }
        if line.is_empty() {
            return Some((body, at));
        }
    }
}

/// A framing line without its end: short and without control characters.
fn line(bytes: &[u8]) -> Option<&[u8]> {
    let end = find(bytes, b"\r\n")?;
    let printable = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    let fits = end < 4 << 10 && bytes[..end].iter().all(printable);
    fits.then_some(&bytes[..end])
}

fn is_token(text: &[u8]) -> bool {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(fits)
}

fn trim(text: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let Some(start) = text.iter().position(|byte| !is_space(byte)) else {
        return &[];
    };
    let end = text.iter().rposition(|byte| !is_space(byte));
    &text[start..=end.unwrap_or(start)]
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn split<'a>(bytes: &'a [u8], end: &[u8]) -> Vec<&'a [u8]> {
    let mut parts = Vec::new();
    let mut rest = bytes;
    while let Some(at) = find(rest, end) {
        parts.push(&rest[..at]);
        rest = &rest[at + end.len()..];
    }
    parts.push(rest);
    parts
}
