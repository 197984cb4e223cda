//! Google's Gemini API: `generateContent`, `streamGenerateContent` and `countTokens`.
//!
//! The model stands in the path of a call. Its JSON is that of Protocol Buffers: a member may be written in two
//! spellings, such as `systemInstruction` and `system_instruction`, and one element may stand for a list of one.

mod answer;
pub mod count_tokens;
pub mod generate;
mod media;
pub mod place;
mod prompt;
mod spelling;
pub mod tools;
