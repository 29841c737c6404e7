//! Project chores: `cargo xtask tidy` checks the house rules.

mod tidy;

use std::{env, process::ExitCode};

use anyhow::{Result, bail};

fn main() -> Result<ExitCode> {
    match env::args().nth(1).as_deref() {
        Some("tidy") => tidy::run(),
        Some(other) => bail!("there is no chore {other:?}; there is: tidy"),
        None => bail!("name a chore: tidy"),
    }
}
