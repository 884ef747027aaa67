//! The bytes of a component, validated, compiled and linked: a refusal, or code.

use std::sync::LazyLock;

use stellaclaw::plugins::fuzz::Compiler;

static COMPILER: LazyLock<Compiler> = LazyLock::new(|| Compiler::start().expect("an engine"));

pub fn run(data: &[u8]) {
    // Text would be taken for the text format, were that part of the engine.
    if let Err(reason) = COMPILER.compile(data) {
        assert!(!reason.is_empty() && reason.len() <= (64 << 10) + 4 * data.len(), "{} bytes of reason", reason.len());
    }
}
