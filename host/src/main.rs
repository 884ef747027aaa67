//! Arguments → what they say → exit code.

use std::io::Write as _;
use std::process;

use clap::Parser as _;
use stellaclaw::cli::{self, ExitCode};

fn main() -> process::ExitCode {
    let arguments = cli::args::Arguments::parse();
    match cli::run(arguments) {
        Ok(code) => code.into(),
        Err(error) => {
            // The one place where an error is shown. When even that fails, the code still tells.
            let _ = writeln!(std::io::stderr(), "stellaclaw: {}", cli::chain(&error));
            ExitCode::of(&error).into()
        }
    }
}
