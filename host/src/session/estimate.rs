//! Tokens of a text, without the vendor's vocabulary.
//!
//! A tokenizer's table of words costs 48 MB of memory and is right for one vendor only. Here characters are counted in runs
//! of one class, as those tokenizers split them: within a quarter of `o200k_base` for prose in many scripts, code, JSON, hashes
//! and encoded bytes. What a model reported last takes the place of the estimate as far as it goes
//! ([`crate::session::history::Context::estimate`]).

/// What a token is counted in here.
const TOKEN: u64 = 20;

/// Characters that tokenizers treat alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Blank,
    Line,
    Lower,
    Upper,
    Digit,
    Sign,
    /// Scripts with two bytes per letter: Greek, Cyrillic, Hebrew, Arabic.
    Near,
    /// Scripts of India and South East Asia.
    Far,
    /// Chinese, Japanese, Korean.
    Wide,
    Symbol,
    Emoji,
}

/// About how many tokens `text` is. Cheap enough for every event of a journal.
#[must_use]
pub fn tokens(text: &str) -> u64 {
    let mut sum = 0u64;
    let mut run: Option<(Class, u64)> = None;
    for char in text.chars() {
        let class = classify(char);
        run = match run {
            Some((known, length)) if known == class => Some((class, length + 1)),
            // A word that begins with a capital is one word.
            Some((Class::Upper, 1)) if class == Class::Lower => Some((Class::Lower, 2)),
            Some((known, length)) => {
                sum += weight(known, length);
                Some((class, 1))
            }
            None => Some((class, 1)),
        };
    }
    sum += run.map_or(0, |(class, length)| weight(class, length));
    sum.div_ceil(TOKEN)
}

fn classify(char: char) -> Class {
    match char {
        ' ' | '\t' => Class::Blank,
        '\n' | '\r' => Class::Line,
        '0'..='9' => Class::Digit,
        'a'..='z' => Class::Lower,
        'A'..='Z' => Class::Upper,
        '\0'..='\u{7f}' => Class::Sign,
        '\u{80}'..='\u{24f}' if char.is_uppercase() => Class::Upper,
        '\u{80}'..='\u{24f}' => Class::Lower,
        '\u{250}'..='\u{8ff}' => Class::Near,
        '\u{900}'..='\u{10ff}' => Class::Far,
        '\u{2000}'..='\u{2e7f}' => Class::Symbol,
        '\u{1100}'..='\u{ffff}' => Class::Wide,
        _ => Class::Emoji,
    }
}

/// What a run of `length` such characters weighs, in [`TOKEN`]ths.
fn weight(class: Class, length: u64) -> u64 {
    match class {
        // One blank belongs to the word after it.
        Class::Blank => u64::from(length > 1) * TOKEN,
        Class::Line => length * TOKEN / 2,
        Class::Lower => length.div_ceil(8) * TOKEN,
        Class::Upper | Class::Digit | Class::Sign => length.div_ceil(3) * TOKEN,
        Class::Near => length.div_ceil(5) * TOKEN,
        Class::Far => length * TOKEN * 2 / 5,
        Class::Wide => length * TOKEN * 17 / 20,
        Class::Symbol => length * TOKEN,
        Class::Emoji => length * TOKEN * 8 / 5,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Texts with what `o200k_base` makes of them.
    const MEASURED: [(&str, u64); 13] = [
        (
            "Every call is answered. Not started means that it did not run; outcome unknown means that it may have run: look before you repeat it. Long output is shortened and says so, so ask for a narrower part of it.",
            46,
        ),
        (
            "Die Zusammenfassung des bisherigen Gesprächs steht am Anfang, und die neuesten Nachrichten bleiben so, wie sie sind. Größere Dateien werden gekürzt.",
            30,
        ),
        (
            "pub(super) fn has_waiting(&self) -> bool {\n        !self.waiting.is_empty()\n    }\n\n    pub(super) fn newest_waiting(&self) -> Option<InboxId> {\n        self.waiting.last().map(|input| input.inbox)\n    }\n",
            57,
        ),
        (
            r#"[{"id": 17, "name": "item17", "path": "src/session/turn_17.rs", "ok": false, "size": 48213}, {"id": 18, "name": "item18", "path": "src/session/turn_18.rs", "ok": true, "size": 913}]"#,
            74,
        ),
        (r#"checksum = "9f8e1b0c4a7d5523e6f1c0b2a3948576d1e2f30415263748596a7b8c9d0e1f20""#, 52),
        ("TWFueSBoYW5kcyBtYWtlIGxpZ2h0IHdvcmsuIFRoZSBxdWljayBicm93biBmb3gganVtcHMgb3ZlciB0aGUgbGF6eSBkb2cu", 61),
        ("到目前为止的对话摘要放在开头，最新的消息保持不变。较大的文件会被缩短，剩下的内容必须能够独立理解。", 38),
        ("これまでの会話の要約は冒頭に置かれ、最新のメッセージはそのまま残ります。", 29),
        ("Краткое содержание предыдущего разговора находится в начале, а самые новые сообщения остаются без изменений.", 21),
        ("يوضع ملخص المحادثة حتى الآن في البداية وتبقى أحدث الرسائل كما هي.", 20),
        ("สรุปการสนทนาที่ผ่านมาอยู่ที่จุดเริ่มต้น และข้อความล่าสุดจะยังคงเหมือนเดิม", 27),
        ("지금까지의 대화 요약은 맨 앞에 놓이고 최신 메시지는 그대로 유지됩니다.", 22),
        ("Done 🎉🚀 great, see you 😂 then 👍", 12),
    ];

    #[test]
    fn estimates_are_near_a_real_tokenizer_whatever_the_script() {
        for (text, real) in MEASURED {
            let ours = tokens(text);
            assert!(ours * 4 >= real * 3 && ours * 4 <= real * 5, "{ours}, not {real}: {text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_is_about_the_sum_of_its_parts(one in ".{0,200}", other in ".{0,200}") {
            let (sum, both) = (tokens(&one) + tokens(&other), tokens(&format!("{one}{other}")));
            prop_assert!(both <= sum + 1 && sum <= both + 3, "{both} and {sum}");
            prop_assert!(tokens(&one) <= 2 * one.chars().count() as u64);
        }
    }
}
